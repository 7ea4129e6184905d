import { request as httpRequest, type RequestOptions } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RksError } from "@rk8s/protocol";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clusterRoutes } from "./cluster-routes.js";
import { openHttpListener } from "./http-listener.js";
import type { OperatorApi } from "./operator-api.js";
import type { HttpCaller, Route } from "./route.js";
import { anApi, listenerPorts } from "./testing/an-api.js";

/** Reached by whoever was let in. */
const reached = new RksError("UNAVAILABLE", "the handler was reached");
const api = new Proxy({} as OperatorApi, {
  get: () => {
    throw reached;
  },
});
const ROUTES: readonly Route[] = clusterRoutes(api);

/** Every path with who may use it; a route that is added needs a line here. */
const TABLE = [
  "GET /v1/rk8s/status operator",
  "POST /v1/rk8s/join-tokens operator",
  "GET /v1/rk8s/join-tokens operator",
  "DELETE /v1/rk8s/join-tokens/:id operator",
  "GET /v1/rk8s/nodes operator",
  "GET /v1/rk8s/nodes/:name operator",
  "POST /v1/rk8s/nodes/:name/rejoin operator",
  "POST /v1/rk8s/nodes/:name/evict operator",
  "POST /v1/rk8s/nodes/:name/ban operator",
  "POST /v1/rk8s/nodes/:name/unban operator",
  "POST /v1/rk8s/nodes/:name/renew operator",
  "POST /v1/rk8s/messages operator",
];

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
    const init = { ...room, caller, routes: ROUTES, api: anApi(), listener: "https" as const };
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
    expect((await codeOf(caller, method, path)) === "PERMISSION_DENIED").toBe(!letIn);
  });

  test.each(["/v1/rk8s/none", "/v1/rk8s/", "/v1/rk8s/nodes/a/b/c"])(
    "whether %s exists is for operators",
    async (path) => {
      expect(await codeOf("nobody", "GET", path)).toBe("PERMISSION_DENIED");
      expect(await codeOf("operator", "GET", path)).toBe("NOT_FOUND");
    },
  );

  test.each(["PUT", "PATCH", "LIST"])("%s is no way around", async (method) => {
    expect(await codeOf("nobody", method, "/v1/rk8s/nodes")).toBe("PERMISSION_DENIED");
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
    code: "UNAVAILABLE",
  },
])("$name is $code", async ({ method, path, code }) => {
  expect(await codeOf("operator", method, path)).toBe(code);
});

function codeOf(caller: HttpCaller, method: string, path: string): Promise<string> {
  const options: RequestOptions = { host: "127.0.0.1", port: servers[caller]?.port, path, agent: false };
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
