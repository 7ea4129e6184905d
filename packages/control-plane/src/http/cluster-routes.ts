import { readFile } from "node:fs/promises";
import { serverStream } from "@rk8s/host";
import { MESSAGES_PATH } from "@rk8s/protocol";
import { z } from "zod";
import { OPERATOR_POLICY } from "../join/join-token-record.js";
import type { CreatedJoinToken } from "../join/join-token-store.js";
import { ROTATION_STEPS, type RotationStep } from "../pki/cluster-rotation.js";
import type { StepOptions } from "../trust/ca-rotation.js";
import { assertMayGrant, type Authority } from "../server/authority.js";
import { VERSION } from "../version.js";
import type { OperatorApi } from "./operator-api.js";
import { readJsonBody } from "./request-body.js";
import { data } from "./http-answer.js";
import type { Route } from "./route.js";

/** As the config has it. */
const MIN_ROOT_TTL_SECONDS = 30;
const MAX_ROOT_TTL_SECONDS = 100 * 365 * 86_400;
/** An intermediate, its root and a cross-certificate, in PEM with whatever text tools put between them. */
const MAX_CERTIFICATES_TEXT = 32_768;
/** Nodes and members of the store that one request may give up. */
const MAX_LEFT_BEHIND = 1000;
/** Of a node, or of an endpoint. */
const MAX_NAME_CHARACTERS = 300;

const seconds = z.number().int();
const joinTokenBody = z.strictObject({
  ttlSeconds: seconds.optional(),
  uses: z.number().int().optional(),
  node: z.string().max(253).optional(),
  cidr: z.string().max(64).optional(),
  role: z.enum(["node", "operator"]).optional(),
  policies: z.array(z.string().max(128)).max(100).optional(),
  recoveries: z.number().int().optional(),
  recoveryWindowSeconds: seconds.optional(),
});
const noBody = z.strictObject({});
const reasonBody = z.strictObject({ reason: z.string().min(1).max(256).optional() });
const certificates = z.string().max(MAX_CERTIFICATES_TEXT).optional();
const newRootBody = z.strictObject({
  rootTtlSeconds: seconds.min(MIN_ROOT_TTL_SECONDS).max(MAX_ROOT_TTL_SECONDS).optional(),
  certificates,
});
const newIntermediateBody = z.strictObject({ certificates });
const requestBody = z.strictObject({ fresh: z.boolean().optional() });
const leaveBehindBody = z.strictObject({
  force: z.array(z.string().max(MAX_NAME_CHARACTERS)).max(MAX_LEFT_BEHIND).optional(),
});

const rotationBodies: Readonly<Record<RotationStep, z.ZodType<Omit<StepOptions, "actor">>>> = {
  prepare: newRootBody,
  activate: leaveBehindBody,
  retire: leaveBehindBody,
  rollback: leaveBehindBody,
  taint: noBody,
  revoke: leaveBehindBody,
  renew: newIntermediateBody,
};

const JOIN_TOKENS = "/v1/rk8s/join-tokens";
/** What a token's policies must allow on the path, unless the route says otherwise. */
const CAPABILITY_OF = { GET: "read", POST: "update", DELETE: "delete" } as const;

/** The cluster's own API: what `rks` asks of the control plane that runs. Documents are `{"data": …}`. */
export function clusterRoutes(api: OperatorApi): readonly Route[] {
  const operator = (
    method: Route["method"],
    pattern: string,
    handle: Route["handle"],
    asks: Route["asks"] = CAPABILITY_OF[method],
  ): Route => ({ method, pattern, asks, handle });
  return [
    operator("GET", "/v1/rk8s/status", async () => data(await statusOf(api))),
    operator("POST", JOIN_TOKENS, async ({ request, authority }) => {
      const body = await readJsonBody(request, joinTokenBody);
      await assertMayMake(body, authority);
      return data(await withAddress(api, await api.cluster().joinTokens.create(body, authority)));
    }),
    operator(
      "GET",
      JOIN_TOKENS,
      async () => data({ joinTokens: await api.cluster().joinTokens.list() }),
      "list",
    ),
    operator("DELETE", `${JOIN_TOKENS}/:id`, async ({ parameters, authority }) =>
      data(await api.cluster().joinTokens.revoke(parameters["id"]!, authority)),
    ),
    operator("GET", "/v1/rk8s/nodes", async () => data({ nodes: await api.cluster().nodes.list() }), "list"),
    operator("GET", "/v1/rk8s/nodes/:name", async ({ parameters }) =>
      data(await api.cluster().nodes.show(parameters["name"]!)),
    ),
    operator("POST", "/v1/rk8s/nodes/:name/rejoin", async ({ request, parameters, authority }) => {
      await readJsonBody(request, noBody);
      return data(await withAddress(api, await api.cluster().nodes.rejoin(parameters["name"]!, authority)));
    }),
    operator("POST", "/v1/rk8s/nodes/:name/evict", async ({ request, parameters, authority }) => {
      await readJsonBody(request, noBody);
      await api.cluster().nodes.evict(parameters["name"]!, authority);
      return { status: 204 };
    }),
    operator("POST", "/v1/rk8s/nodes/:name/ban", async ({ request, parameters, authority }) => {
      const { reason } = await readJsonBody(request, reasonBody);
      await api.cluster().nodes.ban(parameters["name"]!, { actor: authority.actor, reason });
      return { status: 204 };
    }),
    operator("POST", "/v1/rk8s/nodes/:name/unban", async ({ request, parameters, authority }) => {
      await readJsonBody(request, noBody);
      await api.cluster().nodes.unban(parameters["name"]!, authority);
      return { status: 204 };
    }),
    operator("POST", "/v1/rk8s/nodes/:name/renew", async ({ request, parameters, authority }) => {
      const { reason = "an operator asks for it" } = await readJsonBody(request, reasonBody);
      await api.cluster().nodes.requireRenewal(parameters["name"]!, { actor: authority.actor, reason });
      return { status: 204 };
    }),
    operator("GET", "/v1/rk8s/ca", async () => data(await api.cluster().ca.status())),
    operator("POST", "/v1/rk8s/ca/csr", async ({ request, authority }) => {
      const options = await readJsonBody(request, requestBody);
      return data(await api.cluster().ca.request({ ...options, actor: authority.actor }));
    }),
    ...ROTATION_STEPS.map((step) =>
      operator("POST", `/v1/rk8s/ca/${step}`, async ({ request, authority }) => {
        const options = await readJsonBody(request, rotationBodies[step]);
        return data(await api.cluster().ca.step(step, { ...options, actor: authority.actor }));
      }),
    ),
    operator("GET", "/v1/rk8s/audit/head", () => Promise.resolve(data(api.auditHead()))),
    operator(
      "POST",
      MESSAGES_PATH,
      async ({ request, response, authority, signal }) => {
        await api.cluster().serveStream(serverStream(request, response), { authority, signal });
        return "streamed";
      },
      "each message",
    ),
  ];
}

/** Who lets operators in gives away what he has himself. @throws {RksError} PERMISSION_DENIED. */
async function assertMayMake(
  { role, policies = [OPERATOR_POLICY] }: z.output<typeof joinTokenBody>,
  authority: Authority,
): Promise<void> {
  if (role !== "operator") return;
  await assertMayGrant(authority, policies, { operation: "update", path: JOIN_TOKENS.slice("/v1/".length) });
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
    storage: api.storeStatus(),
    ...api.endpoints,
  };
}

/** A new token, with what a worker needs besides it. The one answer that carries its secret. */
async function withAddress(api: OperatorApi, created: CreatedJoinToken): Promise<object> {
  return {
    ...created,
    token: created.token.reveal(),
    rootCertPath: api.rootCertificateFile,
    // Public, and of no use by its path to an operator on another host.
    rootCertificates: await readFile(api.rootCertificateFile, "utf8").catch(() => null),
    address: api.agentAddress(),
  };
}
