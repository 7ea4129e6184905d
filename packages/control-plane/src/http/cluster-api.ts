import type { IncomingMessage, ServerResponse } from "node:http";
import { LinkedAbort, RksError, Secret } from "@rk8s/protocol";
import type { FastifyInstance } from "fastify";
import { type Authority, type Question, questionOf, SOCKET_AUTHORITY } from "../server/authority.js";
import type { Answerer } from "./answerer.js";
import { connectionOf } from "./client-connection.js";
import { takeOver } from "./exchange.js";
import { clusterErrorAnswer } from "./http-error.js";
import { verbOf } from "./list-verb.js";
import type { OperatorApi } from "./operator-api.js";
import type { HttpCaller, Route } from "./route.js";
import { API_METHODS } from "./vault-api.js";
import { tokenOf } from "./vault-request.js";

/** What the paths of policies do not have. */
const PREFIX = "/v1/";
const ALL = "/v1/rk8s/*";

export interface ClusterApiInit {
  readonly caller: HttpCaller;
  readonly routes: readonly Route[];
  readonly api: Pick<OperatorApi, "cluster" | "isServing" | "tokenHolder">;
  /** Aborted when the server closes. */
  readonly closing: AbortSignal;
}

/**
 * Serve the cluster's own API. Whoever may not use a path is told so whether it exists or not. Handlers read bodies
 * themselves, since one of them is a stream.
 */
export function serveClusterApi(app: FastifyInstance, init: ClusterApiInit, answerer: Answerer): void {
  const { closing, routes } = init;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null));
  const serve = (
    methods: readonly string[],
    url: string,
    asks: Route["asks"],
    handle: Route["handle"],
  ): void => {
    app.route({
      method: [...methods],
      url,
      handler: (request, reply) => {
        const exchange = takeOver(request, reply, url);
        const parameters = request.params as Readonly<Record<string, string>>;
        const work: () => ReturnType<Route["handle"]> = async () => {
          const authority = await authorityOf(request.raw, init);
          using life = lifeOf(exchange.response, closing);
          const { signal } = life;
          const run = (): ReturnType<Route["handle"]> =>
            handle({ request: request.raw, response: reply.raw, parameters, authority, signal });
          if (asks === "each message") return await run();
          // `/nodes/` is no node without a name.
          if (Object.values(parameters).includes("")) throw nothingAt(request.raw);
          const question = questionOf({ operation: asks, pattern: url.slice(PREFIX.length) }, parameters);
          return await asked(question, authority, run, init);
        };
        void answerer.run(exchange, work, clusterErrorAnswer);
      },
    });
  };
  const served = new Map<string, string[]>();
  for (const { method, pattern, asks, handle } of routes) {
    const taken = method === "GET" ? ["GET", "HEAD"] : [method];
    served.set(pattern, [...(served.get(pattern) ?? []), ...taken]);
    serve(taken, pattern, asks, handle);
  }
  for (const [pattern, taken] of served) {
    const others = API_METHODS.filter((method) => !taken.includes(method));
    serve(others, pattern, "update", ({ request }) => Promise.reject(wrongMethod(request, taken)));
  }
  serve(API_METHODS, ALL, "each message", ({ request }) => Promise.reject(nothingAt(request)));
}

/** Ask the policies and record. Sealed, neither is possible: on the socket the handlers themselves say what is. */
function asked<T>(
  question: Question,
  authority: Authority,
  work: () => Promise<T>,
  { api, caller }: ClusterApiInit,
): Promise<T> {
  if (caller === "operator" && !api.isServing) return work();
  return api.cluster().asOperator(authority, question, work);
}

/** @throws {RksError} PERMISSION_DENIED without a token that is alive; VAULT_SEALED when nobody can tell. */
async function authorityOf(request: IncomingMessage, { api, caller }: ClusterApiInit): Promise<Authority> {
  if (caller === "operator") return SOCKET_AUTHORITY;
  const token = tokenOf(request.headers);
  if (token === undefined) throw forOperators(request);
  const holder = await api.tokenHolder(new Secret(token), connectionOf(request.socket));
  if (holder === undefined) throw forOperators(request);
  const acl = Promise.resolve(holder.acl);
  return { actor: `token ${holder.name}`, policies: holder.policies, acl: () => acl };
}

/** Aborted when the server closes, and when the client goes away before it has the whole answer. */
function lifeOf(response: ServerResponse, closing: AbortSignal): LinkedAbort {
  const life = new LinkedAbort(closing);
  response.once("close", () => {
    if (!response.writableFinished) life.abort(new RksError("STREAM_RESET", "the client is gone"));
  });
  return life;
}

/** What nobody serves. */
export function nothingAt(request: IncomingMessage): RksError {
  return new RksError("NOT_FOUND", `there is nothing at ${show(request)}`);
}

function forOperators(request: IncomingMessage): RksError {
  return new RksError("PERMISSION_DENIED", `${show(request)} is for operators`, {
    suggestion:
      "Send a token of the vault whose policies allow it in X-Vault-Token, or use the socket in the vault folder.",
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
