import type { RequestOptions } from "node:http";
import { RksError, type Secret, type WireError } from "@rk8s/protocol";
import { z } from "zod";
import { type ClientAnswer, sendRequest } from "./send-request.js";
import { connectionFailure, httpsOptions, httpsTimedOut, type ServerTls } from "./vault-server.js";

const ANSWER_TIMEOUT_MS = 60_000;

/** Asks a running rks for what is below `/v1/rk8s/`: on its socket, or with a token over HTTPS. */
export interface ClusterClient {
  /**
   * Send a request and read the answer's document; undefined for an answer without one.
   * @throws {RksError} UNREACHABLE when nothing listens there, PERMISSION_DENIED when the socket is somebody else's,
   * TIMED_OUT, over HTTPS SERVER_UNTRUSTED and SERVER_NAME_MISMATCH, and the server's own error.
   */
  request(method: "GET" | "POST" | "DELETE", path: string, body?: unknown): Promise<unknown>;
}

export interface HttpsClientOptions {
  readonly token: Secret<string> | undefined;
  /** Default: 60 s. */
  readonly timeoutMs?: number | undefined;
}

/**
 * A client for `https://host:port`, which is always verified; nothing is opened before the first request.
 * @throws {RksError} CONFIG_INVALID for an address that is no HTTPS origin.
 */
export function clusterOverHttps(
  address: string,
  tls: ServerTls,
  { token, timeoutMs = ANSWER_TIMEOUT_MS }: HttpsClientOptions,
): ClusterClient {
  return clusterClient({
    base: httpsOptions(address, tls),
    isTls: true,
    headers: token === undefined ? {} : { "x-vault-token": token.reveal() },
    timeoutMs,
    timedOut: () => httpsTimedOut(address, timeoutMs),
    failed: (cause) => connectionFailure(address, tls, cause),
  });
}

interface ClusterClientInit {
  readonly base: RequestOptions;
  readonly isTls: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly timedOut: () => RksError;
  readonly failed: (cause: unknown) => RksError;
  /** Before every request. @throws {RksError} */
  readonly check?: () => void;
}

/** What clients of the cluster's API have in common, however they reach it. */
export function clusterClient(init: ClusterClientInit): ClusterClient {
  const { base, isTls, headers: own = {}, timeoutMs, timedOut, failed, check } = init;
  return {
    async request(method, path, body) {
      check?.();
      const headers = { ...(body === undefined ? {} : { "content-type": "application/json" }), ...own };
      try {
        const answer = await sendRequest({
          options: { ...base, method, path, headers },
          isTls,
          body: body === undefined ? undefined : JSON.stringify(body),
          timeoutMs,
          timedOut,
        });
        return clusterDocument(answer);
      } catch (cause) {
        throw cause instanceof RksError ? cause : failed(cause);
      }
    },
  };
}

const errorBody = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    suggestion: z.string().optional(),
    retryable: z.boolean(),
  }),
});

/** What the cluster's API answered. @throws {RksError} the server's own error; MESSAGE_INVALID, INTERNAL. */
function clusterDocument({ status, body }: ClientAnswer): unknown {
  const text = body.toString("utf8");
  const document = text.trim() === "" ? undefined : parseJson(text);
  if (status >= 200 && status < 300) return document;
  const refused = errorBody.safeParse(document);
  if (refused.success) throw RksError.fromWire(refused.data.error satisfies WireError);
  throw new RksError("INTERNAL", `rks answered with HTTP status ${status}`, {
    suggestion: "Use an rks command of the same version as the rks that runs.",
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RksError("MESSAGE_INVALID", "what answered is no rks: its answer is not JSON", { cause });
  }
}
