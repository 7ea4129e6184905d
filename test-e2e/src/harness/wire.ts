import { readFile } from "node:fs/promises";
import { Agent, request as httpsRequest, type RequestOptions } from "node:https";
import { type ClientRequest, request as socketRequest } from "node:http";
import type { Cluster } from "./cluster.js";

/** A request as it stands on the wire: the path is sent as it is written, the verb may be LIST or SCAN. */
interface WireRequest {
  readonly method: string;
  /** With `/v1/` and the query, percent-encoded as the client does. */
  readonly path: string;
  readonly token?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | undefined;
}

export interface WireReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly text: string;
  /** The text as JSON; undefined when it is none. */
  readonly json: unknown;
}

/** Sends requests byte for byte as clients do, over connections that stay open. */
export interface Wire extends Disposable {
  send(request: WireRequest): Promise<WireReply>;
}

/** What a connection presents besides, for example a client's certificate. */
export type WireOptions = Pick<RequestOptions, "cert" | "key" | "localAddress"> & {
  /** Connections at once. Default: 64. */
  readonly connections?: number;
};

/** The Vault API of a running rks over HTTPS. */
export async function wireTo(cluster: Cluster, options: WireOptions = {}): Promise<Wire> {
  const { connections = 64, ...identity } = options;
  const { hostname, port } = new URL(cluster.httpAddress);
  const ca = await readFile(cluster.rootCertPath);
  const agent = new Agent({ ca, keepAlive: true, maxSockets: connections, ...identity });
  return {
    send: (asked) => exchange(asked, (init) => httpsRequest({ host: hostname, port, agent, ...init })),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

/** The same over the unix socket of its host, where a request without a token has every right. */
export function socketWireTo(cluster: Cluster): Pick<Wire, "send"> {
  const socketPath = cluster.socket;
  return { send: (asked) => exchange(asked, (init) => socketRequest({ socketPath, ...init })) };
}

function exchange(
  { method, path, token, headers = {}, body }: WireRequest,
  open: (init: Pick<RequestOptions, "method" | "path" | "headers">) => ClientRequest,
): Promise<WireReply> {
  const all = {
    ...(token === undefined ? {} : { "x-vault-token": token }),
    ...headers,
    ...(body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) }),
  };
  return new Promise((resolve, reject) => {
    const sent = open({ method, path, headers: all });
    sent.once("error", reject).once("response", (answer) => {
      const chunks: Uint8Array[] = [];
      answer.on("data", (chunk: Uint8Array) => chunks.push(chunk)).once("error", reject);
      answer.once("end", () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, json: parsed(text) });
      });
    });
    sent.end(body);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
