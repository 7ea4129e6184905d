import { readFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { join } from "node:path";
import type { Cluster } from "./cluster.js";

/** A request below `/v1/`. */
export interface VaultCall {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "LIST" | "SCAN" | "HEAD";
  readonly path: string;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface VaultReply {
  readonly status: number;
  readonly bytes: Uint8Array;
  readonly text: string;
  /** The text as JSON; undefined when it is none. */
  readonly json: unknown;
}

/** What the server said instead of what was asked for. */
export class VaultRefusal extends Error {
  readonly status: number;

  constructor(call: VaultCall, { status, text }: VaultReply) {
    super(`${call.method} ${call.path}: ${status} ${text}`);
    this.status = status;
  }
}

/** The Vault API of a running rks over HTTPS, with a token. */
export interface VaultApi {
  /** `https://host:port`. */
  readonly address: string;
  readonly token: string;
  /** The same with another token; empty: none. */
  as(token: string): VaultApi;
  /** Whatever is answered. */
  ask(call: VaultCall): Promise<VaultReply>;
  /** The `data` of a read. @throws {VaultRefusal} */
  read(path: string): Promise<Readonly<Record<string, unknown>>>;
  /** The `data` of a write, empty when there is none. @throws {VaultRefusal} */
  write(path: string, body: object): Promise<Readonly<Record<string, unknown>>>;
  /** A document that is not JSON. @throws {VaultRefusal} */
  raw(path: string): Promise<string>;
  bytes(path: string): Promise<Uint8Array>;
}

/** As root, of a cluster that was made with `keep_dangerous_files`. */
export async function vaultApi(cluster: Cluster): Promise<VaultApi> {
  const token = (await readFile(join(cluster.vaultFolder, "root_token.txt"), "utf8")).trim();
  const agent = new Agent({ ca: await readFile(cluster.rootCertPath), keepAlive: true });
  return apiWith({ address: cluster.httpAddress, agent }, token);
}

/** A token that may what these policies say and nothing else. */
export async function narrowToken(
  root: VaultApi,
  policies: readonly string[],
  name?: string,
): Promise<string> {
  const body = { policies, no_default_policy: true, ...(name === undefined ? {} : { display_name: name }) };
  const { json } = await root.ask({ method: "POST", path: "auth/token/create", body });
  return (json as { readonly auth: { readonly client_token: string } }).auth.client_token;
}

interface Where {
  readonly address: string;
  readonly agent: Agent;
}

function apiWith(where: Where, token: string): VaultApi {
  const done = async (call: VaultCall): Promise<VaultReply> => {
    const reply = await exchange(where, token, call);
    if (reply.status < 300) return reply;
    throw new VaultRefusal(call, reply);
  };
  const dataOf = ({ json }: VaultReply): Readonly<Record<string, unknown>> =>
    (json as { data?: Record<string, unknown> | null } | undefined)?.data ?? {};
  return {
    address: where.address,
    token,
    as: (other) => apiWith(where, other),
    ask: (call) => exchange(where, token, call),
    read: async (path) => dataOf(await done({ method: "GET", path })),
    write: async (path, body) => dataOf(await done({ method: "POST", path, body })),
    raw: async (path) => (await done({ method: "GET", path })).text,
    bytes: async (path) => (await done({ method: "GET", path })).bytes,
  };
}

function exchange({ address, agent }: Where, token: string, call: VaultCall): Promise<VaultReply> {
  const { method, path, body } = call;
  const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  const isRead = method === "GET" || method === "HEAD" || method === "LIST" || method === "SCAN";
  const text = body === undefined || isRead ? undefined : JSON.stringify(body);
  const headers = {
    ...(token === "" ? {} : { "x-vault-token": token }),
    // Node says no length of a DELETE's body by itself, and the server takes it for another request.
    ...(text === undefined ? {} : { "content-type": type, "content-length": Buffer.byteLength(text) }),
    ...call.headers,
  };
  // Node's client knows no LIST and no SCAN.
  const query = path.includes("?") ? "&" : "?";
  const asked =
    method === "LIST" || method === "SCAN"
      ? { method: "GET", path: `${path}${query}${method.toLowerCase()}=true` }
      : { method, path };
  return new Promise((resolve, reject) => {
    const sent = request(
      `${address}/v1/${asked.path}`,
      { method: asked.method, agent, headers },
      (answer) => {
        const chunks: Uint8Array[] = [];
        answer.on("data", (chunk: Uint8Array) => chunks.push(chunk));
        answer.once("error", reject);
        answer.once("end", () => {
          const bytes = Buffer.concat(chunks);
          const said = bytes.toString();
          resolve({ status: answer.statusCode ?? 0, bytes, text: said, json: parsed(said) });
        });
      },
    );
    sent.once("error", reject);
    sent.end(text);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
