import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";

/** An answer that is complete in memory. */
export interface HttpAnswer {
  readonly status: number;
  /** Nothing, or empty: no body, and no content type. */
  readonly body?: string | Uint8Array | undefined;
  /** Default: `application/json`. */
  readonly contentType?: string;
  /** Milliseconds; makes the answer one that may be asked for conditionally. */
  readonly lastModifiedMs?: number | undefined;
  readonly retryAfterSeconds?: number;
}

/** What the cluster's own API answers: `{"data": …}`. */
export function data(document: unknown): HttpAnswer {
  return { status: 200, body: `${JSON.stringify({ data: document })}\n` };
}

/**
 * Write an answer, in one piece. With HEAD its body stays out; when the client has it already (If-Modified-Since, RFC
 * 9110 §13.1.3) it is 304. A connection goes on only when the request was read to its end.
 */
export function writeAnswer(
  request: IncomingMessage,
  response: ServerResponse,
  answer: HttpAnswer,
  options: { readonly isClosing?: boolean } = {},
): void {
  const headers: OutgoingHttpHeaders = { "cache-control": "no-store" };
  // What was not read of the request must not be taken for the next one.
  if (!request.complete || options.isClosing === true) headers["connection"] = "close";
  const { body, lastModifiedMs, retryAfterSeconds } = answer;
  if (lastModifiedMs !== undefined) headers["last-modified"] = new Date(lastModifiedMs).toUTCString();
  if (retryAfterSeconds !== undefined) headers["retry-after"] = String(retryAfterSeconds);
  if (isUnchanged(request, answer)) {
    response.writeHead(304, headers).end();
    return;
  }
  if (body === undefined || body.length === 0) {
    if (answer.status !== 204) headers["content-length"] = "0";
    response.writeHead(answer.status, headers).end();
    return;
  }
  headers["content-type"] = answer.contentType ?? "application/json";
  headers["content-length"] = typeof body === "string" ? Buffer.byteLength(body) : body.length;
  response.writeHead(answer.status, headers);
  if (request.method === "HEAD") response.end();
  else response.end(body);
}

function isUnchanged(request: IncomingMessage, { status, lastModifiedMs }: HttpAnswer): boolean {
  const since = request.headers["if-modified-since"];
  if (since === undefined || lastModifiedMs === undefined || status !== 200) return false;
  if (request.method !== "GET" && request.method !== "HEAD") return false;
  const sinceMs = Date.parse(since);
  return !Number.isNaN(sinceMs) && Math.floor(lastModifiedMs / 1000) * 1000 <= sinceMs;
}
