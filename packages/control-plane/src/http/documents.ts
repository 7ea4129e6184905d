import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { type BackendPath, operation } from "../vault/path-table.js";
import { text } from "../vault/field-types.js";
import type { Answerer } from "./answerer.js";
import { connectionOf } from "./client-connection.js";
import { takeOver } from "./exchange.js";
import type { HttpAnswer } from "./http-answer.js";
import { vaultErrorAnswer } from "./http-error.js";
import type { Metrics } from "./metrics.js";
import type { OperatorApi } from "./operator-api.js";
import type { HttpCaller } from "./route.js";
import { toHttpAnswer } from "./vault-answer.js";
import { tokenOf } from "./vault-request.js";

const METRICS_PATH = "sys/metrics";

type DescribedApi = Pick<OperatorApi, "answer" | "isCutOff" | "isServing" | "sealStatus" | "storeStatus">;

export interface DocumentsInit {
  readonly api: DescribedApi;
  readonly caller: HttpCaller;
}

/** Serve what tells how rks is: probes for whoever asks, metrics for who may read `sys/metrics`. */
export function serveDocuments(
  app: FastifyInstance,
  init: DocumentsInit,
  ports: { readonly answerer: Answerer; readonly metrics: Metrics },
): void {
  const { api, caller } = init;
  const { answerer, metrics } = ports;
  const probes = { "/healthz": alive, "/livez": alive, "/readyz": () => readiness(api) };
  for (const [url, probe] of Object.entries(probes)) {
    app.route({
      method: ["GET", "HEAD"],
      url,
      handler: (request, reply) =>
        void answerer.run(takeOver(request, reply, url), () => Promise.resolve(probe()), vaultErrorAnswer),
    });
  }
  app.route({
    method: ["GET", "HEAD"],
    url: "/metrics",
    handler: (request, reply) => {
      const { raw } = request;
      const work = async (): Promise<HttpAnswer> => {
        // An operator reads them sealed as well.
        if (caller === "operator") return metricsAnswer(metrics);
        const clientToken = tokenOf(raw.headers);
        const connection = connectionOf(raw.socket);
        return toHttpAnswer(
          "read",
          await api.answer({ operation: "read", path: METRICS_PATH, clientToken, connection }),
        );
      };
      void answerer.run(takeOver(request, reply, "/metrics"), work, vaultErrorAnswer);
    },
  });
}

/** The path `sys/metrics` of the vault; relative to `sys/`. */
export function metricsPath(metrics: Metrics): BackendPath {
  return {
    pattern: "metrics",
    operations: {
      read: operation({
        summary: "Read the metrics in Prometheus' text format.",
        fields: z.object({ format: text("") }),
        handle: async () => {
          const { contentType, body } = await metricsAnswer(metrics);
          return { raw: { contentType, body }, data: { text: body } };
        },
      }),
    },
  };
}

async function metricsAnswer(metrics: Metrics): Promise<HttpAnswer & { contentType: string; body: string }> {
  return { status: 200, contentType: metrics.contentType, body: await metrics.text() };
}

/** Whatever can answer is alive: a restart would open nothing that is sealed. */
function alive(): HttpAnswer {
  return { status: 200, body: '{"status":"ok"}' };
}

/** Ready is who serves agents, which takes an open vault and a store that can be written to. */
function readiness(api: DescribedApi): HttpAnswer {
  const { movedTo, migration } = api.storeStatus();
  if (movedTo !== null)
    return { status: 503, body: '{"status":"sealed: the vault was moved to another store"}' };
  if (api.isServing) {
    if (api.isCutOff) return { status: 503, body: '{"status":"degraded: the store does not answer"}' };
    const phase = migration?.phase;
    if (phase === "in doubt") return { status: 503, body: '{"status":"store in doubt"}' };
    const isBehind = phase === "waiting" || phase === "failed";
    return isBehind ? { status: 200, body: '{"status":"degraded: the store could not be moved"}' } : alive();
  }
  const status = api.sealStatus().sealed ? "sealed" : "starting";
  return { status: 503, body: JSON.stringify({ status }) };
}
