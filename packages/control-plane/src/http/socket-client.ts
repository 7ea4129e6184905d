import { type IncomingMessage, request as httpRequest } from "node:http";
import { assertSocketPath } from "@rk8s/host";
import { RksError, type WireError } from "@rk8s/protocol";
import { z } from "zod";

/** 10,000 nodes are 4 MB. */
const MAX_ANSWER_BYTES = 33_554_432;
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
      try {
        const response = await exchange({ path, method, target, text, timeoutMs });
        return documentOf(response);
      } catch (cause) {
        throw cause instanceof RksError ? cause : unreachable(path, startCommand, cause);
      }
    },
  };
}

interface Exchange {
  readonly path: string;
  readonly method: string;
  readonly target: string;
  readonly text: string | undefined;
  readonly timeoutMs: number;
}

interface ExchangeAnswer {
  readonly status: number;
  readonly text: string;
}

function exchange({ path, method, target, text, timeoutMs }: Exchange): Promise<ExchangeAnswer> {
  return new Promise((resolve, reject) => {
    const headers = text === undefined ? {} : { "content-type": "application/json" };
    const request = httpRequest({ socketPath: path, method, path: target, headers, agent: false });
    const timer = setTimeout(() => request.destroy(timedOut(path, timeoutMs)), timeoutMs);
    request.once("close", () => clearTimeout(timer));
    request.once("error", reject);
    request.once("response", (response) => {
      readAnswer(response).then(resolve, reject);
    });
    request.end(text);
  });
}

async function readAnswer(response: IncomingMessage): Promise<ExchangeAnswer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) throw new RksError("MESSAGE_TOO_LARGE", "the answer of rks is too large");
    chunks.push(chunk);
  }
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") };
}

const errorBody = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    suggestion: z.string().optional(),
    retryable: z.boolean(),
  }),
});

function documentOf({ status, text }: ExchangeAnswer): unknown {
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

function timedOut(path: string, timeoutMs: number): RksError {
  return new RksError("TIMED_OUT", `rks at "${path}" did not answer within ${timeoutMs / 1000} s`, {
    suggestion: "See its log.",
  });
}

function unreachable(path: string, startCommand: string, cause: unknown): RksError {
  const errno = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (errno === "EACCES" || errno === "EPERM") {
    return new RksError("PERMISSION_DENIED", `the socket "${path}" is for the user that runs rks only`, {
      cause,
      suggestion: "Run the command as that user.",
    });
  }
  if (errno === "ECONNRESET" || errno === "EPIPE" || errno === "ERR_STREAM_PREMATURE_CLOSE") {
    return new RksError("CONNECTION_LOST", `rks at "${path}" went away while it answered`, { cause });
  }
  return new RksError("UNREACHABLE", `no rks answers at "${path}"`, {
    cause,
    suggestion: `Start it with \`${startCommand}\`.`,
  });
}
