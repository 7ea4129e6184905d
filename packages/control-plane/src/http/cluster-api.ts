import type { IncomingMessage, ServerResponse } from "node:http";
import { RksError } from "@rk8s/protocol";
import type { FastifyInstance } from "fastify";
import type { Answerer } from "./answerer.js";
import { takeOver } from "./exchange.js";
import { clusterErrorAnswer } from "./http-error.js";
import { verbOf } from "./list-verb.js";
import type { HttpCaller, Route } from "./route.js";
import { API_METHODS } from "./vault-api.js";

const ALL = "/v1/rk8s/*";

export interface ClusterApiInit {
  readonly caller: HttpCaller;
  readonly routes: readonly Route[];
  /** Aborted when the server closes. */
  readonly closing: AbortSignal;
}

/**
 * Serve the cluster's own API. Whoever may not use a path is told so whether it exists or not. Handlers read bodies
 * themselves, since one of them is a stream.
 */
export function serveClusterApi(app: FastifyInstance, init: ClusterApiInit, answerer: Answerer): void {
  const { caller, closing, routes } = init;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null));
  const serve = (
    methods: readonly string[],
    url: string,
    allows: HttpCaller,
    handle: Route["handle"],
  ): void => {
    app.route({
      method: [...methods],
      url,
      handler: (request, reply) => {
        const exchange = takeOver(request, reply, url);
        const parameters = request.params as Readonly<Record<string, string>>;
        const work: () => ReturnType<Route["handle"]> = async () => {
          if (allows === "operator" && caller !== "operator") throw forOperators(request.raw);
          // `/nodes/` is no node without a name.
          if (Object.values(parameters).includes("") && !url.endsWith("*")) throw nothingAt(request.raw);
          const signal = AbortSignal.any([goneSignal(exchange.response), closing]);
          return handle({ request: request.raw, response: reply.raw, parameters, signal });
        };
        void answerer.run(exchange, work, clusterErrorAnswer);
      },
    });
  };
  const served = new Map<string, string[]>();
  for (const { methods, pattern, allows, handle } of routes) {
    const taken = methods.flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method]));
    served.set(pattern, [...(served.get(pattern) ?? []), ...taken]);
    serve(taken, pattern, allows, handle);
  }
  for (const [pattern, taken] of served) {
    const others = API_METHODS.filter((method) => !taken.includes(method));
    serve(others, pattern, "operator", ({ request }) => Promise.reject(wrongMethod(request, taken)));
  }
  serve(API_METHODS, ALL, "operator", ({ request }) => Promise.reject(nothingAt(request)));
}

/** Aborted when the client goes away before it has the whole answer. */
function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) gone.abort(new RksError("STREAM_RESET", "the client is gone"));
  });
  return gone.signal;
}

/** What nobody serves. */
export function nothingAt(request: IncomingMessage): RksError {
  return new RksError("NOT_FOUND", `there is nothing at ${show(request)}`);
}

function forOperators(request: IncomingMessage): RksError {
  return new RksError("PERMISSION_DENIED", `${show(request)} is for operators on the host of rks`, {
    suggestion: "Use the socket in the vault folder, or an operator token with rkl.",
  });
}

function wrongMethod(request: IncomingMessage, taken: readonly string[]): RksError {
  return new RksError(
    "UNSUPPORTED",
    `${show(request)} takes ${taken.join(", ")}, not ${verbOf(request.method ?? "")}`,
  );
}

function show(request: IncomingMessage): string {
  return JSON.stringify((request.url ?? "").split("?", 1)[0]?.slice(0, 200));
}
