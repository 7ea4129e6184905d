import { request as httpRequest, type ClientRequest, type IncomingMessage } from "node:http";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { assertSocketPath, HttpStream } from "@rk8s/host";
import {
  FRAMES_MEDIA_TYPE,
  MESSAGES_PATH,
  RksError,
  type StreamOpener,
  type WireError,
} from "@rk8s/protocol";
import { z } from "zod";

/** Where the agent says how it is. */
export const STATUS_PATH = "/v1/status";

const MAX_DOCUMENT_BYTES = 1_048_576;
const ANSWER_TIMEOUT_MS = 10_000;

/** Who is expected at a socket, for messages. */
export interface SocketOwner {
  readonly program: "rks" | "rkl";
  /** The command that starts it. */
  readonly start: string;
}

/** The socket of the agent that has this data folder. */
export function agentSocketOf(dataFolder: string): string {
  return join(dataFolder, "rkl.sock");
}

/**
 * The program that listens on a unix socket, asked as over QUIC: each stream is one HTTP exchange whose bodies are the
 * stream's bytes. Nothing is opened before the first stream. Reading fails with UNREACHABLE when nothing listens,
 * PERMISSION_DENIED when the socket is somebody else's, or the error of an answer that is none.
 */
export function socketPeer(path: string, owner: SocketOwner): StreamOpener {
  return {
    // oxlint-disable-next-line typescript/require-await -- what cannot be opened becomes a rejection
    async openStream() {
      const headers = { "content-type": FRAMES_MEDIA_TYPE };
      const request = openRequest(path, { method: "POST", path: MESSAGES_PATH, headers });
      let failure: unknown;
      const incoming = answerOf(request, path, owner).catch((reason: unknown) => {
        failure = reason;
        throw reason;
      });
      return new HttpStream({
        incoming,
        outgoing: request,
        broken: (cause) => (failure instanceof RksError ? failure : socketError(path, owner, cause)),
      });
    },
  };
}

/** Ask for one JSON document. @throws {RksError} as `socketPeer`, and TIMED_OUT. */
export async function readDocument(path: string, target: string, owner: SocketOwner): Promise<unknown> {
  const request = openRequest(path, { method: "GET", path: target });
  const timer = setTimeout(() => {
    request.destroy(
      new RksError(
        "TIMED_OUT",
        `${owner.program} at "${path}" did not answer within ${ANSWER_TIMEOUT_MS / 1000} s`,
      ),
    );
  }, ANSWER_TIMEOUT_MS);
  try {
    const answer = answerOf(request, path, owner);
    request.end();
    return JSON.parse(await textOf(await answer)) as unknown;
  } catch (cause) {
    throw socketError(path, owner, cause);
  } finally {
    clearTimeout(timer);
  }
}

function openRequest(
  socketPath: string,
  init: { method: string; path: string; headers?: Record<string, string> },
): ClientRequest {
  assertSocketPath(socketPath);
  return httpRequest({ socketPath, agent: false, ...init });
}

async function answerOf(request: ClientRequest, path: string, owner: SocketOwner): Promise<Readable> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request.once("response", resolve);
    request.on("error", reject);
    request.once("close", () => reject(socketError(path, owner, undefined)));
  }).catch((cause: unknown) => {
    throw socketError(path, owner, cause);
  });
  // Reading notices a body that breaks off; without a listener the event would end the process.
  response.on("error", () => undefined);
  if (response.statusCode === 200) return response;
  throw await refusalOf(response, owner);
}

const errorBody = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    suggestion: z.string().optional(),
    retryable: z.boolean(),
  }),
});

async function refusalOf(response: IncomingMessage, owner: SocketOwner): Promise<RksError> {
  const text = await textOf(response).catch(() => "");
  try {
    return RksError.fromWire(errorBody.parse(JSON.parse(text)).error satisfies WireError);
  } catch (cause) {
    return new RksError(
      "INTERNAL",
      `${owner.program} answered with HTTP status ${response.statusCode ?? 0}`,
      {
        cause,
        suggestion: `Use a command of the same version as the ${owner.program} that runs.`,
      },
    );
  }
}

async function textOf(body: Readable): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > MAX_DOCUMENT_BYTES) throw new RksError("MESSAGE_TOO_LARGE", "an answer is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Foreign errors of a unix socket in our codes. */
function socketError(path: string, owner: SocketOwner, cause: unknown): RksError {
  if (cause instanceof RksError) return cause;
  const errno = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (errno === "EACCES" || errno === "EPERM") {
    return new RksError(
      "PERMISSION_DENIED",
      `the socket "${path}" is for the user that runs ${owner.program} only`,
      {
        cause,
        suggestion: "Run the command as that user.",
      },
    );
  }
  if (errno === "ENOENT" || errno === "ECONNREFUSED" || errno === "ENOTSOCK") {
    return new RksError("UNREACHABLE", `no ${owner.program} answers at "${path}"`, {
      cause,
      suggestion: `Start it with \`${owner.start}\`.`,
    });
  }
  return new RksError("CONNECTION_LOST", `${owner.program} at "${path}" went away while it answered`, {
    cause,
  });
}
