import type { Server, ServerOptions } from "node:http";
import { type Logger, RksError } from "@rk8s/protocol";
import { ConnectionRoom, type RoomInit } from "./connection-room.js";
import { createHttpApp, type HttpAppInit } from "./http-app.js";
import { HTTP_LIMITS, type HttpLimits } from "./http-limits.js";
import type { Metrics } from "./metrics.js";

/** What node:http is told about deadlines and sizes, for both kinds of listener. */
export function serverOptions(limits: HttpLimits): ServerOptions {
  return {
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: limits.deadlineCheckMs,
  };
}

export interface HttpListenerInit extends Omit<HttpAppInit, "closing">, RoomInit {
  /** What closing waits for requests that are being answered. */
  readonly drainMs: number;
}

export interface HttpListenerPorts {
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * Make a server answer, and let `listen` start it. Disposing it closes what is idle at once, lets requests under way be
 * answered, and cuts what is left after the drain time.
 * @throws what `listen` throws.
 */
export async function openHttpListener(
  server: Server,
  init: HttpListenerInit,
  ports: HttpListenerPorts,
  listen: () => Promise<void>,
): Promise<AsyncDisposable> {
  const { listener, drainMs } = init;
  const closing = new AbortController();
  const room = new ConnectionRoom(server, init);
  server.maxHeadersCount = HTTP_LIMITS.maxHeaders;
  await createHttpApp(server, { ...init, closing: closing.signal }, ports);
  await listen();
  ports.metrics.watchConnections(listener, () => room.size);
  server.on("error", (error) => ports.logger.error("HTTP listener failed", { listener, error }));
  let closed: Promise<void> | undefined;
  return { [Symbol.asyncDispose]: () => (closed ??= close(server, { room, closing, drainMs })) };
}

async function close(
  server: Server,
  parts: { readonly room: ConnectionRoom; readonly closing: AbortController; readonly drainMs: number },
): Promise<void> {
  const done = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  parts.closing.abort(
    new RksError("UNAVAILABLE", "rks is stopping", { suggestion: "Try again when it runs." }),
  );
  const timer = setTimeout(() => parts.room.clear(), parts.drainMs);
  await done;
  clearTimeout(timer);
}
