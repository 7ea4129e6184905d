import { rm } from "node:fs/promises";
import { createServer } from "node:http";
import { listenOnUnixSocket } from "@rk8s/host";
import type { HttpAppInit } from "./http-app.js";
import { type HttpListenerPorts, openHttpListener, serverOptions } from "./http-listener.js";
import { HTTP_LIMITS } from "./http-limits.js";

export interface SocketServerInit extends Pick<HttpAppInit, "routes" | "api"> {
  /** Where the socket is made, mode 0600. The caller must hold the lock on its folder. */
  readonly path: string;
  /** What closing waits for requests that are being answered. */
  readonly drainMs: number;
}

/**
 * Serve on a unix socket until disposed. Whoever can open the socket is an operator and needs no token.
 * @throws {RksError} CONFIG_INVALID, STORAGE_UNWRITABLE.
 */
export async function serveSocket(
  init: SocketServerInit,
  ports: HttpListenerPorts,
): Promise<AsyncDisposable> {
  const server = createServer(serverOptions(HTTP_LIMITS));
  const max = HTTP_LIMITS.maxSocketConnections;
  const listener = await openHttpListener(
    server,
    { ...init, listener: "socket", caller: "operator", maxConnections: max, maxPerAddress: max },
    ports,
    () => listenOnUnixSocket(server, init.path, { setting: "vault_folder" }),
  );
  return {
    async [Symbol.asyncDispose]() {
      await rm(init.path, { force: true }).catch(() => undefined);
      await listener[Symbol.asyncDispose]();
    },
  };
}
