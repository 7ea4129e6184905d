import type { Server } from "node:http";
import { type Logger, RksError } from "@rk8s/protocol";
import fastify, { type FastifyError } from "fastify";
import { Answerer } from "./answerer.js";
import { refuseClient } from "./client-error.js";
import { nothingAt, serveClusterApi } from "./cluster-api.js";
import { serveDocuments } from "./documents.js";
import { takeOver } from "./exchange.js";
import { vaultErrorAnswer } from "./http-error.js";
import { HTTP_LIMITS } from "./http-limits.js";
import { acceptListVerb, LIST_METHOD, SCAN_METHOD } from "./list-verb.js";
import type { Metrics } from "./metrics.js";
import type { OperatorApi } from "./operator-api.js";
import type { HttpCaller, Route } from "./route.js";
import { serveVaultApi } from "./vault-api.js";
import { API_PREFIX } from "./vault-target.js";

/** How metrics call what fits no pattern. */
const NO_ROUTE = "none";

export interface HttpAppInit {
  readonly listener: "socket" | "https";
  /** What everybody is who can connect. */
  readonly caller: HttpCaller;
  /** The cluster's own API. */
  readonly routes: readonly Route[];
  readonly api: Pick<
    OperatorApi,
    "answer" | "cluster" | "isCutOff" | "isServing" | "sealStatus" | "storeStatus" | "tokenHolder"
  >;
  /** Aborted when the server closes. */
  readonly closing: AbortSignal;
}

export interface HttpAppPorts {
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * Answer the requests of a server that does not listen yet: the vault's API, the cluster's own API, probes, metrics.
 * Routing and reading are Fastify's; answers are written past its serialisation, in one piece.
 */
export async function createHttpApp(server: Server, init: HttpAppInit, ports: HttpAppPorts): Promise<void> {
  const answerer = new Answerer(init, ports);
  const app = fastify({
    serverFactory: (handler) => server.on("request", handler),
    bodyLimit: HTTP_LIMITS.maxBodyBytes,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: HTTP_LIMITS.maxHeaderBytes },
    clientErrorHandler: refuseClient,
    frameworkErrors: (error, request, reply) => {
      answerer.fail(takeOver(request, reply, NO_ROUTE), fromFastify(error), vaultErrorAnswer);
    },
  });
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const route = request.routeOptions.url ?? NO_ROUTE;
    answerer.fail(takeOver(request, reply, route), fromFastify(error), vaultErrorAnswer);
  });
  app.setNotFoundHandler((request, reply) => {
    const { raw } = request;
    // Every path of the API takes some method.
    const reason = raw.url?.startsWith(API_PREFIX) === true ? unknownMethod(raw.method) : nothingAt(raw);
    answerer.fail(takeOver(request, reply, NO_ROUTE), reason, vaultErrorAnswer);
  });
  app.addHttpMethod(LIST_METHOD).addHttpMethod(SCAN_METHOD);
  serveDocuments(app, init, { answerer, metrics: ports.metrics });
  app.register((scope, _options, done) => {
    serveClusterApi(scope, init, answerer);
    done();
  });
  app.register((scope, _options, done) => {
    serveVaultApi(scope, init, answerer);
    done();
  });
  await app.ready();
  acceptListVerb(server);
}

/** What Fastify refuses before a handler sees it. */
function fromFastify(error: Partial<FastifyError>): RksError {
  const { statusCode = 500 } = error;
  if (error instanceof RksError) return error;
  if (statusCode === 413) {
    return new RksError("MESSAGE_TOO_LARGE", `a request body may have ${HTTP_LIMITS.maxBodyBytes} bytes`, {
      suggestion: "Send less at once.",
    });
  }
  if (statusCode >= 500) return RksError.from(error);
  return new RksError("INPUT_INVALID", "the request cannot be read", {
    cause: error,
    suggestion: "Check its path, its length and its headers.",
  });
}

function unknownMethod(method = ""): RksError {
  return new RksError("UNSUPPORTED", `unsupported operation: no path takes ${JSON.stringify(method)}`, {
    suggestion: "Use GET, LIST, POST, PUT, PATCH or DELETE.",
  });
}
