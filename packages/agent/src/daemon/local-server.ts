import { rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { listenOnUnixSocket, serverStream } from "@rk8s/host";
import { LinkedAbort, MESSAGES_PATH, RksError, type Clock, type Logger, type Stream } from "@rk8s/protocol";
import { RequestServer } from "../session/dispatch.js";
import type { Handlers } from "../session/handlers.js";
import { MovedReplies } from "../session/moved-replies.js";
import type { AgentStatus } from "./agent-status.js";
import { STATUS_PATH } from "./socket-peer.js";

const MAX_CONNECTIONS = 64;
const REQUEST_TIMEOUT_MS = 60_000;

export interface LocalServerInit {
  /** Where the socket is made, mode 0600; what was there is replaced. */
  readonly path: string;
  readonly handlers: Handlers;
  readonly status: () => Promise<AgentStatus>;
}

/**
 * Serve this host's commands on a unix socket until disposed; disposing ends what is being answered. Whoever can open
 * the socket may do everything. The caller must hold the lock on its folder.
 * @throws {RksError} CONFIG_INVALID when the path is too long, STORAGE_UNWRITABLE.
 */
export async function serveLocally(
  init: LocalServerInit,
  ports: { readonly clock: Clock; readonly logger: Logger },
): Promise<AsyncDisposable> {
  const life = new AbortController();
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
    // A client that goes away is noticed by the stream; without a listener the event would end the process.
    for (const stream of [request, response]) stream.on("error", () => undefined);
    answer(init, request, response, { ...ports, life: life.signal }).catch((reason: unknown) => {
      sendError(response, reason);
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on("clientError", (_error, socket) => socket.destroy());
  await listenOnUnixSocket(server, init.path, { setting: "--data-dir" });
  return {
    async [Symbol.asyncDispose]() {
      life.abort(new RksError("UNAVAILABLE", "the agent is stopping"));
      await rm(init.path, { force: true }).catch(() => undefined);
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

async function answer(
  init: LocalServerInit,
  request: IncomingMessage,
  response: ServerResponse,
  options: { readonly clock: Clock; readonly logger: Logger; readonly life: AbortSignal },
): Promise<void> {
  const route = `${request.method} ${request.url}`;
  if (route === `GET ${STATUS_PATH}`) {
    send(response, 200, await init.status());
  } else if (route === `POST ${MESSAGES_PATH}`) {
    using life = new LinkedAbort(options.life);
    response.once("close", () => life.abort(new RksError("STREAM_RESET", "the client is gone")));
    const { signal } = life;
    const stream = serverStream(request, response);
    using moved = new MovedReplies(options);
    await new RequestServer(init.handlers, { ...options, signal, moved }).serve(only(stream));
  } else {
    throw new RksError("NOT_FOUND", `"${route.slice(0, 200)}" is nothing that the agent serves`);
  }
}

async function* only(stream: Stream): AsyncGenerator<Stream, void, undefined> {
  yield await Promise.resolve(stream);
}

function sendError(response: ServerResponse, reason: unknown): void {
  const error = RksError.from(reason);
  if (response.headersSent) response.destroy();
  else send(response, error.info.http, { error: error.toJSON() });
}

function send(response: ServerResponse, status: number, document: unknown): void {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(`${JSON.stringify(document)}\n`);
}
