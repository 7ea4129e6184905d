import { request as httpRequest, type RequestOptions } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RksError, silentLogger } from "@rk8s/protocol";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MemoryAudit } from "../join/testing/memory-audit.js";
import { CLUSTER_POLICIES } from "../lifecycle/cluster-policies.js";
import { asOperator } from "../server/operator-request.js";
import { Acl } from "../vault/policy/acl.js";
import { parsePolicy } from "../vault/policy/policy-parser.js";
import { clusterRoutes } from "./cluster-routes.js";
import { openHttpListener } from "./http-listener.js";
import type { OperatorApi, OperatorCluster } from "./operator-api.js";
import type { HttpCaller, Route } from "./route.js";
import { anApi, listenerPorts } from "./testing/an-api.js";

/** Reached by whoever was let in. */
const reached = new RksError("UNAVAILABLE", "the handler was reached");
const NARROW = `
  path "rk8s/nodes" { capabilities = ["list"] }
  path "rk8s/nodes/worker-1" { capabilities = ["read"] }
`;
/** Tokens with what their policies say; whoever has none of them has none that is alive. */
const HOLDERS: Readonly<Record<string, { readonly policies: readonly string[]; readonly acl: Acl }>> = {
  root: { policies: ["root"], acl: new Acl([], { isRoot: true }) },
  operator: { policies: ["operator"], acl: new Acl([parsePolicy(CLUSTER_POLICIES["operator"]!)]) },
  narrow: { policies: ["look"], acl: new Acl([parsePolicy(NARROW)]) },
  none: { policies: [], acl: new Acl([]) },
};
const audit = new MemoryAudit();
const cluster = {
  asOperator: (authority, question, work) =>
    asOperator(authority, question, work, { audit, logger: silentLogger }),
  get joinTokens(): never {
    throw reached;
  },
  get nodes(): never {
    throw reached;
  },
  get ca(): never {
    throw reached;
  },
  get serveStream(): never {
    throw reached;
  },
} as OperatorCluster;
const api: OperatorApi = {
  ...anApi({ cluster: () => cluster, isServing: true }),
  auditHead: () => {
    throw reached;
  },
  sealStatus: () => {
    throw reached;
  },
  tokenHolder: (token) => {
    const holder = Object.hasOwn(HOLDERS, token.reveal()) ? HOLDERS[token.reveal()] : undefined;
    return Promise.resolve(holder === undefined ? undefined : { name: token.reveal(), ...holder });
  },
};
const ROUTES: readonly Route[] = clusterRoutes(api);

/** Every path with what policies are asked; a route that is added needs a line here, and one in docs/authorization.md. */
const TABLE = [
  "GET /v1/rk8s/status: read",
  "POST /v1/rk8s/join-tokens: update",
  "GET /v1/rk8s/join-tokens: list",
  "DELETE /v1/rk8s/join-tokens/:id: delete",
  "GET /v1/rk8s/nodes: list",
  "GET /v1/rk8s/nodes/:name: read",
  "POST /v1/rk8s/nodes/:name/rejoin: update",
  "POST /v1/rk8s/nodes/:name/evict: update",
  "POST /v1/rk8s/nodes/:name/ban: update",
  "POST /v1/rk8s/nodes/:name/unban: update",
  "POST /v1/rk8s/nodes/:name/renew: update",
  "GET /v1/rk8s/ca: read",
  "POST /v1/rk8s/ca/csr: update",
  "POST /v1/rk8s/ca/prepare: update",
  "POST /v1/rk8s/ca/activate: update",
  "POST /v1/rk8s/ca/retire: update",
  "POST /v1/rk8s/ca/rollback: update",
  "POST /v1/rk8s/ca/taint: update",
  "POST /v1/rk8s/ca/revoke: update",
  "POST /v1/rk8s/ca/renew: update",
  "GET /v1/rk8s/audit/head: read",
  "POST /v1/rk8s/messages: each message",
];

/** What the narrow token gets to. Which messages it may send is another table's matter. */
const LET_IN_NARROWLY = new Set([
  "GET /v1/rk8s/nodes",
  "GET /v1/rk8s/nodes/worker-1",
  "POST /v1/rk8s/messages",
]);

let folder: string;
const servers: Record<HttpCaller, { readonly port: number; readonly server: AsyncDisposable } | undefined> = {
  nobody: undefined,
  operator: undefined,
};
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-routes-"));
  for (const caller of ["nobody", "operator"] as const) {
    const server = createServer();
    const room = { maxConnections: 100, maxPerAddress: 100, drainMs: 100 };
    const init = { ...room, caller, routes: ROUTES, api, listener: "https" as const };
    const listener = await openHttpListener(
      server,
      init,
      listenerPorts(),
      () => new Promise((resolve) => server.listen(0, "127.0.0.1", resolve)),
    );
    servers[caller] = { port: (server.address() as AddressInfo).port, server: listener };
  }
});
afterAll(async () => {
  for (const { server } of Object.values(servers).filter((one) => one !== undefined)) {
    await server[Symbol.asyncDispose]();
  }
  await rm(folder, { recursive: true });
});

test("the table of paths is the one that is written down", () => {
  expect(ROUTES.map(({ method, pattern, asks }) => `${method} ${pattern}: ${asks}`)).toEqual(TABLE);
});

/** Whoever may ask, and how; what is not listed has no token. */
const CALLERS = {
  "the socket": { caller: "operator" },
  "the socket with a token": { caller: "operator", token: "none" },
  root: { caller: "nobody", token: "root" },
  "an operator": { caller: "nobody", token: "operator" },
  "a narrow token": { caller: "nobody", token: "narrow" },
  "a token without policies": { caller: "nobody", token: "none" },
  "a wrong token": { caller: "nobody", token: "wrong" },
  "no token": { caller: "nobody" },
} as const satisfies Record<string, Asking>;
const ALLOWED: readonly string[] = ["the socket", "the socket with a token", "root", "an operator"];

function mayUse(who: string, method: string, path: string, asks: Route["asks"]): boolean {
  if (ALLOWED.includes(who)) return true;
  if (who === "a narrow token") return LET_IN_NARROWLY.has(`${method} ${path}`);
  return who === "a token without policies" && asks === "each message";
}

const CASES = ROUTES.flatMap(({ method, pattern, asks }) =>
  (Object.keys(CALLERS) as (keyof typeof CALLERS)[]).map((who) => {
    const path = pattern.replaceAll(/:\w+/g, "worker-1");
    return { method, path, who, letIn: mayUse(who, method, path, asks) };
  }),
);

describe("who may use what", () => {
  test.each(CASES)("$method $path by $who: let in $letIn", async ({ method, path, who, letIn }) => {
    expect(await codeOf(CALLERS[who], method, path)).toBe(letIn ? "UNAVAILABLE" : "PERMISSION_DENIED");
  });

  test("a refusal and what was read are recorded with the token's name", async () => {
    audit.lines.length = 0;
    await codeOf(CALLERS["a narrow token"], "DELETE", "/v1/rk8s/join-tokens/1");
    await codeOf(CALLERS["a narrow token"], "GET", "/v1/rk8s/nodes/worker-1");
    expect(audit.lines).toMatchObject([
      {
        type: "result",
        operation: "operator.delete",
        actor: "token narrow",
        outcome: "refused",
        code: "PERMISSION_DENIED",
        fields: { path: "rk8s/join-tokens/1" },
      },
      {
        type: "result",
        operation: "operator.read",
        outcome: "failed",
        fields: { path: "rk8s/nodes/worker-1" },
      },
    ]);
  });

  test.each(["worker-2", "worker-1%2f", "worker%2D1%2Frejoin", "..%2fnodes", "%2e%2e"])(
    "a policy for one node gives nothing of %s",
    async (name) => {
      expect(["PERMISSION_DENIED", "INPUT_INVALID", "NOT_FOUND"]).toContain(
        await codeOf(CALLERS["a narrow token"], "GET", `/v1/rk8s/nodes/${name}`),
      );
    },
  );

  test.each(["/v1/rk8s/none", "/v1/rk8s/", "/v1/rk8s/nodes/a/b/c"])(
    "whether %s exists is for operators",
    async (path) => {
      expect(await codeOf(CALLERS["no token"], "GET", path)).toBe("PERMISSION_DENIED");
      expect(await codeOf(CALLERS["the socket"], "GET", path)).toBe("NOT_FOUND");
    },
  );

  test.each(["PUT", "PATCH", "LIST"])("%s is no way around", async (method) => {
    expect(await codeOf(CALLERS["no token"], method, "/v1/rk8s/nodes")).toBe("PERMISSION_DENIED");
  });
});

test.each([
  { name: "an unknown path", method: "GET", path: "/v1/rk8s/secrets", code: "NOT_FOUND" },
  { name: "a path with another method", method: "PUT", path: "/v1/rk8s/nodes", code: "UNSUPPORTED" },
  { name: "a trailing slash", method: "GET", path: "/v1/rk8s/nodes/", code: "NOT_FOUND" },
  { name: "dots", method: "GET", path: "/v1/rk8s/x/../nodes", code: "NOT_FOUND" },
  { name: "a query", method: "GET", path: "/v1/rk8s/nodes?a=/v1/x", code: "UNAVAILABLE" },
  {
    name: "an escaped slash inside a parameter",
    method: "GET",
    path: "/v1/rk8s/nodes/a%2fevict",
    code: "INPUT_INVALID",
  },
])("$name is $code", async ({ method, path, code }) => {
  expect(await codeOf(CALLERS["the socket"], method, path)).toBe(code);
});

interface Asking {
  readonly caller: HttpCaller;
  readonly token?: string;
}

function codeOf({ caller, token }: Asking, method: string, path: string): Promise<string> {
  const headers = token === undefined ? {} : { "x-vault-token": token };
  const options: RequestOptions = {
    host: "127.0.0.1",
    port: servers[caller]?.port,
    path,
    headers,
    agent: false,
  };
  // What Node cannot send as a method goes out as its stand-in.
  const sent = method === "LIST" ? "LINK" : method;
  return new Promise((resolve, reject) => {
    const request = httpRequest({ ...options, method: sent }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve((JSON.parse(text) as { error: { code: string } }).error.code));
    });
    request.once("error", reject);
    request.end();
  });
}
