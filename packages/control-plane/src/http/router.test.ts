import type { IncomingMessage, ServerResponse } from "node:http";
import { RksError } from "@rk8s/protocol";
import { describe, expect, test } from "vitest";
import { clusterRoutes } from "./cluster-routes.js";
import type { OperatorApi } from "./operator-api.js";
import { type Caller, dispatch, type Route } from "./router.js";
import { sysRoutes } from "./sys-routes.js";

/** Reached by whoever was let in. */
const reached = new RksError("UNAVAILABLE", "the handler was reached");
const api = new Proxy({} as OperatorApi, {
  get: () => {
    throw reached;
  },
});
const ROUTES: readonly Route[] = [...sysRoutes(api), ...clusterRoutes(api)];

/** Every path with who may use it; a route that is added needs a line here. */
const TABLE = [
  "GET /v1/sys/seal-status nobody",
  "GET /v1/sys/health nobody",
  "POST|PUT /v1/sys/unseal nobody",
  "POST|PUT /v1/sys/seal operator",
  "GET /v1/rk8s/status operator",
  "POST /v1/rk8s/join-tokens operator",
  "GET /v1/rk8s/join-tokens operator",
  "DELETE /v1/rk8s/join-tokens/:id operator",
  "GET /v1/rk8s/nodes operator",
  "GET /v1/rk8s/nodes/:name operator",
  "POST /v1/rk8s/nodes/:name/rejoin operator",
  "POST /v1/rk8s/nodes/:name/evict operator",
  "POST /v1/rk8s/messages operator",
];

test("the table of paths is the one that is written down", () => {
  expect(ROUTES.map(({ methods, pattern, allows }) => `${methods.join("|")} ${pattern} ${allows}`)).toEqual(
    TABLE,
  );
});

const CASES = ROUTES.flatMap(({ methods, pattern, allows }) =>
  methods.flatMap((method) =>
    (["nobody", "operator"] as const).map((caller) => ({
      method,
      path: pattern.replaceAll(/:\w+/g, "worker-1"),
      caller,
      letIn: allows === "nobody" || caller === "operator",
    })),
  ),
);

describe("who may use what", () => {
  test.each(CASES)("$method $path by $caller: let in $letIn", async ({ method, path, caller, letIn }) => {
    const code = await codeOf(method, path, caller);
    expect(code === "PERMISSION_DENIED").toBe(!letIn);
  });
});

test.each([
  { name: "an unknown path", method: "GET", path: "/v1/rk8s/secrets", code: "NOT_FOUND" },
  { name: "a path with another method", method: "PUT", path: "/v1/rk8s/nodes", code: "UNSUPPORTED" },
  { name: "a doubled slash", method: "GET", path: "/v1//rk8s/nodes", code: "NOT_FOUND" },
  { name: "a trailing slash", method: "GET", path: "/v1/rk8s/nodes/", code: "NOT_FOUND" },
  { name: "dots", method: "GET", path: "/v1/rk8s/x/../nodes", code: "NOT_FOUND" },
  { name: "an escaped path", method: "GET", path: "/v1/rk8s%2fnodes", code: "NOT_FOUND" },
  { name: "a query", method: "GET", path: "/v1/rk8s/nodes?a=/v1/x", code: "UNAVAILABLE" },
  {
    name: "an escaped slash inside a parameter",
    method: "GET",
    path: "/v1/rk8s/nodes/a%2fevict",
    code: "UNAVAILABLE",
  },
  { name: "an asterisk", method: "OPTIONS", path: "*", code: "NOT_FOUND" },
])("$name is $code", async ({ method, path, code }) => {
  expect(await codeOf(method, path, "operator")).toBe(code);
});

async function codeOf(method: string, path: string, caller: Caller): Promise<string> {
  const request = { method, url: path, async *[Symbol.asyncIterator]() {} } as unknown as IncomingMessage;
  const response = {} as ServerResponse;
  const { signal } = new AbortController();
  return dispatch(ROUTES, { caller, request, response, signal }).then(
    () => "done",
    (error: unknown) => RksError.from(error).code,
  );
}
