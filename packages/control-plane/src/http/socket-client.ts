import { assertSocketPath } from "@rk8s/host";
import { RksError, type WireError } from "@rk8s/protocol";
import { z } from "zod";
import { type ClientAnswer, sendRequest } from "./send-request.js";
import { timedOut, unreachable } from "./socket-failure.js";

const ANSWER_TIMEOUT_MS = 10_000;

/** Asks the rks that listens on a unix socket. */
export interface SocketClient {
  /**
   * Send a request and read the answer's document; undefined for an answer without one.
   * @throws {RksError} UNREACHABLE when nothing listens there, PERMISSION_DENIED when the socket is somebody else's,
   * TIMED_OUT, and the server's own error.
   */
  request(method: "GET" | "POST" | "DELETE", path: string, body?: unknown): Promise<unknown>;
}

/** A client for the socket at a path; nothing is opened before the first request. */
export function openSocketClient(
  path: string,
  options: { readonly startCommand?: string; readonly timeoutMs?: number } = {},
): SocketClient {
  const startCommand = options.startCommand ?? "rks start --config FILE";
  const timeoutMs = options.timeoutMs ?? ANSWER_TIMEOUT_MS;
  return {
    async request(method, target, body) {
      assertSocketPath(path);
      const text = body === undefined ? undefined : JSON.stringify(body);
      const headers = text === undefined ? {} : { "content-type": "application/json" };
      try {
        const response = await sendRequest({
          options: { socketPath: path, method, path: target, headers },
          isTls: false,
          body: text,
          timeoutMs,
          timedOut: () => timedOut(path, timeoutMs),
        });
        return documentOf(response);
      } catch (cause) {
        throw cause instanceof RksError ? cause : unreachable(path, startCommand, cause);
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

function documentOf({ status, body }: ClientAnswer): unknown {
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
