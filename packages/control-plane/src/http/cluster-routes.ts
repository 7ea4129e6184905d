import { serverStream } from "@rk8s/host";
import { MESSAGES_PATH } from "@rk8s/protocol";
import { z } from "zod";
import type { CreatedJoinToken } from "../join/join-token-store.js";
import { ROTATION_STEPS, type RotationStep } from "../pki/cluster-rotation.js";
import type { StepOptions } from "../trust/ca-rotation.js";
import { VERSION } from "../version.js";
import type { OperatorApi } from "./operator-api.js";
import { readJsonBody } from "./request-body.js";
import type { HttpAnswer } from "./http-answer.js";
import type { Route, RouteRequest } from "./route.js";

/** How the audit log names whoever uses the socket. */
const ACTOR = { actor: "operator (socket)" };

/** As the config has it. */
const MIN_ROOT_TTL_SECONDS = 30;
const MAX_ROOT_TTL_SECONDS = 100 * 365 * 86_400;
/** Nodes that one request may give up. */
const MAX_LEFT_BEHIND = 1000;

const seconds = z.number().int();
const joinTokenBody = z.strictObject({
  ttlSeconds: seconds.optional(),
  uses: z.number().int().optional(),
  node: z.string().max(253).optional(),
  cidr: z.string().max(64).optional(),
  role: z.enum(["node", "operator"]).optional(),
});
const noBody = z.strictObject({});
const reasonBody = z.strictObject({ reason: z.string().min(1).max(256).optional() });
const newRootBody = z.strictObject({
  rootTtlSeconds: seconds.min(MIN_ROOT_TTL_SECONDS).max(MAX_ROOT_TTL_SECONDS).optional(),
});
const leaveBehindBody = z.strictObject({
  force: z.array(z.string().max(63)).max(MAX_LEFT_BEHIND).optional(),
});

const rotationBodies: Readonly<Record<RotationStep, z.ZodType<Omit<StepOptions, "actor">>>> = {
  prepare: newRootBody,
  activate: noBody,
  retire: leaveBehindBody,
  rollback: leaveBehindBody,
  taint: noBody,
  revoke: leaveBehindBody,
};

/** The cluster's own API: what `rks` asks of the control plane that runs. Documents are `{"data": …}`. */
export function clusterRoutes(api: OperatorApi): readonly Route[] {
  const operator = (
    method: Route["methods"][number],
    pattern: string,
    handle: (exchange: RouteRequest) => Promise<HttpAnswer | "streamed">,
  ): Route => ({ methods: [method], pattern, allows: "operator", handle });
  return [
    operator("GET", "/v1/rk8s/status", async () => data(await statusOf(api))),
    operator("POST", "/v1/rk8s/join-tokens", async ({ request }) => {
      const body = await readJsonBody(request, joinTokenBody);
      return data(withAddress(api, await api.cluster().joinTokens.create(body, ACTOR)));
    }),
    operator("GET", "/v1/rk8s/join-tokens", async () =>
      data({ joinTokens: await api.cluster().joinTokens.list() }),
    ),
    operator("DELETE", "/v1/rk8s/join-tokens/:id", async ({ parameters }) =>
      data(await api.cluster().joinTokens.revoke(parameters["id"]!, ACTOR)),
    ),
    operator("GET", "/v1/rk8s/nodes", async () => data({ nodes: await api.cluster().nodes.list() })),
    operator("GET", "/v1/rk8s/nodes/:name", async ({ parameters }) =>
      data(await api.cluster().nodes.show(parameters["name"]!)),
    ),
    operator("POST", "/v1/rk8s/nodes/:name/rejoin", async ({ request, parameters }) => {
      await readJsonBody(request, noBody);
      return data(withAddress(api, await api.cluster().nodes.rejoin(parameters["name"]!, ACTOR)));
    }),
    operator("POST", "/v1/rk8s/nodes/:name/evict", async ({ request, parameters }) => {
      await readJsonBody(request, noBody);
      await api.cluster().nodes.evict(parameters["name"]!, ACTOR);
      return { status: 204 };
    }),
    operator("POST", "/v1/rk8s/nodes/:name/ban", async ({ request, parameters }) => {
      const { reason } = await readJsonBody(request, reasonBody);
      await api.cluster().nodes.ban(parameters["name"]!, { ...ACTOR, reason });
      return { status: 204 };
    }),
    operator("POST", "/v1/rk8s/nodes/:name/unban", async ({ request, parameters }) => {
      await readJsonBody(request, noBody);
      await api.cluster().nodes.unban(parameters["name"]!, ACTOR);
      return { status: 204 };
    }),
    operator("POST", "/v1/rk8s/nodes/:name/renew", async ({ request, parameters }) => {
      const { reason = "an operator asks for it" } = await readJsonBody(request, reasonBody);
      await api.cluster().nodes.requireRenewal(parameters["name"]!, { ...ACTOR, reason });
      return { status: 204 };
    }),
    operator("GET", "/v1/rk8s/ca", async () => data(await api.cluster().ca.status())),
    ...ROTATION_STEPS.map((step) =>
      operator("POST", `/v1/rk8s/ca/${step}`, async ({ request }) => {
        const options = await readJsonBody(request, rotationBodies[step]);
        return data(await api.cluster().ca.step(step, { ...options, ...ACTOR }));
      }),
    ),
    operator("POST", MESSAGES_PATH, async ({ request, response, signal }) => {
      await api.cluster().serveStream(serverStream(request, response), signal);
      return "streamed";
    }),
  ];
}

function data(document: unknown): HttpAnswer {
  return { status: 200, body: `${JSON.stringify({ data: document })}\n` };
}

async function statusOf(api: OperatorApi): Promise<object> {
  const seal = api.sealStatus();
  return {
    version: VERSION,
    pid: process.pid,
    startedAt: api.startedAt,
    initialized: seal.initialized,
    sealed: seal.sealed,
    sealType: seal.type,
    threshold: seal.threshold,
    shares: seal.shares,
    progress: seal.progress,
    unattendedStart: await api.unattendedStart(),
    ...api.endpoints,
  };
}

/** A new token, with what a worker needs besides it. The one answer that carries its secret. */
function withAddress(api: OperatorApi, created: CreatedJoinToken): object {
  return {
    ...created,
    token: created.token.reveal(),
    rootCertPath: api.rootCertificateFile,
    address: api.agentAddress(),
  };
}
