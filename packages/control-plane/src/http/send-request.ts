import { type IncomingMessage, request as httpRequest, type RequestOptions } from "node:http";
import type { RequestOptions as TlsRequestOptions } from "node:https";
import { RksError } from "@rk8s/protocol";

/** 10,000 nodes are 4 MB; the largest body that a vault takes is as long. */
const MAX_ANSWER_BYTES = 33_554_432;

/** One request of a client, over a socket or over TLS. */
export interface ClientRequest {
  /** `https` is loaded only when there is TLS to speak. */
  readonly options: RequestOptions | TlsRequestOptions;
  readonly isTls: boolean;
  readonly body: string | undefined;
  /** From now to the last byte of the answer. */
  readonly timeoutMs: number;
  /** What the deadline ends with. */
  readonly timedOut: () => RksError;
}

export interface ClientAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
}

/**
 * Send a request on a connection of its own and read the whole answer. Redirects are not followed.
 * @throws {RksError} MESSAGE_TOO_LARGE, what `timedOut` makes; and Node's own errors when the connection fails.
 */
export async function sendRequest(request: ClientRequest): Promise<ClientAnswer> {
  const send = request.isTls ? (await import("node:https")).request : httpRequest;
  return new Promise((resolve, reject) => {
    const sent = send({ ...request.options, agent: false });
    let answer: IncomingMessage | undefined;
    const timer = setTimeout(() => {
      const error = request.timedOut();
      answer?.destroy(error);
      sent.destroy(error);
    }, request.timeoutMs);
    sent.once("close", () => clearTimeout(timer));
    sent.once("error", reject);
    sent.once("response", (response: IncomingMessage) => {
      answer = response;
      readAnswer(response).then(resolve, reject);
    });
    sent.end(request.body);
  });
}

async function readAnswer(response: IncomingMessage): Promise<ClientAnswer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) throw new RksError("MESSAGE_TOO_LARGE", "the answer of rks is too large");
    chunks.push(chunk);
  }
  return {
    status: response.statusCode ?? 0,
    contentType: response.headers["content-type"] ?? "",
    body: Buffer.concat(chunks),
  };
}
