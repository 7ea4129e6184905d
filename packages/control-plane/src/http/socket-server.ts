import { rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { listenOnUnixSocket } from "@rk8s/host";
import { type Logger, RksError } from "@rk8s/protocol";
import { errorAnswer } from "./http-error.js";
import { dispatch, type Route, type RouteAnswer } from "./router.js";

/** Operators and their scripts; each open connection costs a file descriptor. */
const MAX_CONNECTIONS = 256;
const MAX_HEADER_BYTES = 16_384;
const HEADERS_TIMEOUT_MS = 10_000;
/** From a request's first byte to its last. Answers may take as long as they like: logs are followed. */
const REQUEST_TIMEOUT_MS = 60_000;

export interface SocketServerInit {
  /** Where the socket is made, mode 0600. The caller must hold the lock on its folder. */
  readonly path: string;
  readonly routes: readonly Route[];
  /** What closing waits for requests that are being answered. */
  readonly drainMs: number;
}

/**
 * Serve routes on a unix socket until disposed. Whoever can open the socket is an operator.
 * @throws {RksError} CONFIG_INVALID, STORAGE_UNWRITABLE.
 */
export async function serveSocket(
  init: SocketServerInit,
  ports: { readonly logger: Logger },
): Promise<AsyncDisposable> {
  const closing = new AbortController();
  const options = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
  };
  const server = createServer(options, (request, response) => {
    answer(init.routes, request, response, { signal: closing.signal, logger: ports.logger }).catch(
      (error: unknown) => ports.logger.error("Request failed", { error }),
    );
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on("clientError", (_error, socket) => socket.destroy());
  await listenOnUnixSocket(server, init.path, { setting: "vault_folder" });
  server.on("error", (error) => ports.logger.error("Operator socket failed", { error }));
  let closed: Promise<void> | undefined;
  return {
    [Symbol.asyncDispose]: () => (closed ??= close(server, init, closing)),
  };
}

async function close(server: Server, init: SocketServerInit, closing: AbortController): Promise<void> {
  await rm(init.path, { force: true }).catch(() => undefined);
  const done = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  closing.abort(new RksError("UNAVAILABLE", "rks is stopping", { suggestion: "Try again when it runs." }));
  const timer = setTimeout(() => server.closeAllConnections(), init.drainMs);
  await done;
  clearTimeout(timer);
}

async function answer(
  routes: readonly Route[],
  request: IncomingMessage,
  response: ServerResponse,
  context: { readonly signal: AbortSignal; readonly logger: Logger },
): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) gone.abort(new RksError("STREAM_RESET", "the client is gone"));
  });
  const signal = AbortSignal.any([gone.signal, context.signal]);
  try {
    const result = await dispatch(routes, { caller: "operator", request, response, signal });
    if (result !== "streamed") send(request, response, result);
  } catch (reason) {
    const { status, body } = errorAnswer(reason);
    if (status >= 500 && RksError.from(reason).code === "INTERNAL") {
      context.logger.error("Request failed", { method: request.method, error: reason });
    }
    if (response.headersSent) response.destroy();
    else send(request, response, { status, body });
  }
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  result: Exclude<RouteAnswer, "streamed">,
): void {
  // What was not read of the request must not be taken for the next one.
  if (!request.complete) response.setHeader("connection", "close");
  response.setHeader("cache-control", "no-store");
  if (!("body" in result)) {
    response.writeHead(204).end();
    return;
  }
  const text = Buffer.from(`${JSON.stringify(result.body)}\n`);
  response.writeHead(result.status, { "content-type": "application/json", "content-length": text.length });
  response.end(text);
}
