import { once } from "node:events";
import { type IncomingMessage, request as httpRequest } from "node:http";
import {
  encodeFrame,
  encodeMessage,
  FrameDecoder,
  decodeMessage,
  MESSAGES_PATH,
  type Pod,
  type PodManifest,
  RksError,
  type RksMessage,
  type WireError,
} from "@rk8s/protocol";
import type { Cluster, MintedToken } from "./cluster.js";

/** What refusals are compared by: everything of the cluster that a join or an operator could change. */
export interface ClusterState {
  readonly nodes: readonly { readonly name: string; readonly serial: string; readonly joinedAt: string }[];
  readonly tokens: readonly TokenSummary[];
  readonly pods: readonly Pod[];
}

/** One entry of `rks join-token list --json`. */
export interface TokenSummary {
  readonly id: string;
  readonly status: "usable" | "revoked" | "expired" | "used";
  readonly usedCount: number;
  readonly usedBy: readonly { readonly node: string; readonly at: string }[];
}

/** Where to ask: a cluster, or anything else with the socket of an rks. */
export type RksSocket = Pick<Cluster, "socket">;

/**
 * Ask the running rks by its socket, as its commands do, without starting a process for it.
 * @throws {RksError} what rks answers.
 */
export async function askRks(
  { socket }: RksSocket,
  method: "GET" | "POST" | "DELETE",
  path: string,
  body?: object,
): Promise<unknown> {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const answer = await exchange(socket, { method, path, headers }, body && JSON.stringify(body));
  const document: unknown = answer.length === 0 ? undefined : JSON.parse(answer.toString());
  const { data, error } = (document ?? {}) as { readonly data?: unknown; readonly error?: WireError };
  if (error !== undefined) throw RksError.fromWire(error);
  return data;
}

/** What `/readyz` says, and its status. */
export async function readiness(rks: RksSocket): Promise<{ status: number; says: string }> {
  const { status, text } = await read(rks, "/readyz");
  return { status, says: (JSON.parse(text) as { status: string }).status };
}

/** A metric without labels, as a scrape reads it now; undefined: it is not told. */
export async function metric(rks: RksSocket, name: string): Promise<number | undefined> {
  const { text } = await read(rks, "/metrics");
  const line = text.split("\n").find((one) => one.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length));
}

async function read({ socket }: RksSocket, path: string): Promise<{ status: number; text: string }> {
  const request = httpRequest({ method: "GET", path, socketPath: socket, agent: false });
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  let text = "";
  for await (const part of response.setEncoding("utf8")) text += String(part);
  return { status: response.statusCode ?? 0, text };
}

/** A new join token, as `rks gen join-token` makes it. */
export async function newToken(rks: RksSocket, request: object = {}): Promise<MintedToken> {
  return (await askRks(rks, "POST", "/v1/rk8s/join-tokens", request)) as MintedToken;
}

/** The token of this id as `rks join-token list` shows it. */
export async function tokenState(rks: RksSocket, id: string): Promise<TokenSummary> {
  const { tokens } = await clusterState(rks);
  const found = tokens.find((token) => token.id === id);
  if (found === undefined) throw new Error(`there is no token ${id}`);
  return found;
}

/** Nodes, tokens and pods as they are now. */
export async function clusterState(rks: RksSocket): Promise<ClusterState> {
  const [nodes, tokens, pods] = await Promise.all([
    askRks(rks, "GET", "/v1/rk8s/nodes") as Promise<{
      nodes: { name: string; certificateSerial: string; joinedAt: string }[];
    }>,
    askRks(rks, "GET", "/v1/rk8s/join-tokens") as Promise<{ joinTokens: TokenSummary[] }>,
    tellRks(rks, { type: "ListPods" }),
  ]);
  if (pods.type !== "PodList") throw new Error(`ListPods was answered by ${pods.type}`);
  return {
    nodes: nodes.nodes.map(({ name, certificateSerial: serial, joinedAt }) => ({ name, serial, joinedAt })),
    tokens: tokens.joinTokens,
    pods: pods.pods,
  };
}

/** Send one message as the operator on the host of rks; returns its answer, `Error` included. */
async function tellRks(rks: RksSocket, message: RksMessage): Promise<RksMessage> {
  const [first] = await framesFromRks(rks, message);
  if (first === undefined) throw new Error("rks answered nothing");
  return decodeMessage(first.body);
}

/** Let the cluster run a pod, as `rkl apply` does. */
export async function applyPod(rks: RksSocket, manifest: PodManifest): Promise<Pod> {
  const answer = await tellRks(rks, { type: "ApplyPod", manifest });
  if (answer.type !== "Pod") throw new Error(`ApplyPod was answered by ${JSON.stringify(answer)}`);
  return answer.pod;
}

/** The same as `tellRks`; returns everything that comes. */
export async function framesFromRks(
  { socket }: RksSocket,
  message: RksMessage,
): Promise<ReturnType<FrameDecoder["push"]>> {
  const frame = encodeFrame("message", encodeMessage(message));
  return new FrameDecoder().push(await exchange(socket, { method: "POST", path: MESSAGES_PATH }, frame));
}

async function exchange(
  socketPath: string,
  options: {
    readonly method: string;
    readonly path: string;
    readonly headers?: Readonly<Record<string, string>>;
  },
  body: string | Uint8Array | undefined,
): Promise<Buffer> {
  const request = httpRequest({ ...options, socketPath, agent: false });
  request.end(body);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
