import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RksError, Secret } from "@rk8s/protocol";
import { afterEach, beforeEach, expect, test } from "vitest";
import { clusterRoutes } from "./cluster-routes.js";
import type { OperatorApi, OperatorCluster } from "./operator-api.js";
import type { ClusterClient } from "./cluster-client.js";
import { openSocketClient } from "./socket-client.js";
import { serveSocket } from "./socket-server.js";
import { anApi, listenerPorts, UNSEALED } from "./testing/an-api.js";
import { sealAnswers } from "./testing/seal-answers.js";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-http-"));
  path = join(folder, "rks.sock");
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

function aCluster(parts: Partial<OperatorCluster>): OperatorCluster {
  return { asOperator: (_authority, _question, work) => work(), ...parts } as OperatorCluster;
}

async function serveApi(
  api: OperatorApi,
): Promise<AsyncDisposable & { readonly client: ClusterClient; readonly path: string }> {
  const server = await serveSocket({ path, routes: clusterRoutes(api), api, drainMs: 200 }, listenerPorts());
  return { client: openSocketClient(path), path, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

test("the socket is for its owner only and leaves nothing behind", async () => {
  await writeFile(path, "a stale socket of a killed process");
  {
    await using server = await serveApi(anApi());
    expect((await stat(server.path)).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(["rks.sock"]);
  }
  expect(await readdir(folder)).toEqual([]);
});

test("a path that is too long for a socket is refused with its length", async () => {
  const long = join(folder, "x".repeat(120), "rks.sock");
  await expect(
    serveSocket({ path: long, routes: [], api: anApi(), drainMs: 0 }, listenerPorts()),
  ).rejects.toMatchObject({
    code: "CONFIG_INVALID",
  });
  await expect(openSocketClient(long).request("GET", "/")).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

test("a folder that does not exist is told", async () => {
  await expect(
    serveSocket(
      { path: join(folder, "no", "rks.sock"), routes: [], api: anApi(), drainMs: 0 },
      listenerPorts(),
    ),
  ).rejects.toMatchObject({ code: "STORAGE_UNWRITABLE" });
});

test("nothing that listens is unreachable, with the command that starts it", async () => {
  const client = openSocketClient(path, { startCommand: "rks start --config c.yaml" });
  await expect(client.request("GET", "/v1/sys/health")).rejects.toMatchObject({
    code: "UNREACHABLE",
    suggestion: expect.stringContaining("rks start --config c.yaml"),
  });
});

test("the vault is asked with root authority, and with the token of whoever sends one", async () => {
  const asked: unknown[] = [];
  const answer: OperatorApi["answer"] = ({ authority, clientToken, path: of }) => {
    asked.push([of, authority, clientToken instanceof Secret ? clientToken.reveal() : clientToken]);
    return Promise.resolve(undefined);
  };
  await using server = await serveApi(anApi({ answer }));
  await server.client.request("POST", "/v1/sys/seal");
  await rawStatus(server.path, "DELETE", "/v1/secret/a", undefined, { "x-vault-token": "hvs.a" });
  expect(asked).toEqual([
    ["sys/seal", "root", undefined],
    ["secret/a", "root", "hvs.a"],
  ]);
});

test("seal-status and seal come from the vault", async () => {
  let state = UNSEALED;
  const answer = sealAnswers({ status: () => state, seal: () => (state = { ...state, sealed: true }) });
  await using server = await serveApi(anApi({ answer }));
  expect(await server.client.request("GET", "/v1/sys/seal-status")).toMatchObject({ sealed: false });
  expect(await server.client.request("POST", "/v1/sys/seal")).toBeUndefined();
  expect(await server.client.request("GET", "/v1/sys/seal-status")).toMatchObject({ sealed: true });
});

test("while sealed the cluster's paths say so, with the code and Vault's errors", async () => {
  await using server = await serveApi(anApi());
  await expect(server.client.request("GET", "/v1/rk8s/nodes")).rejects.toMatchObject({
    code: "VAULT_SEALED",
  });
  expect(await rawStatus(server.path, "POST", "/v1/rk8s/messages")).toBe(503);
});

test("a new token goes out once, with what the worker's command needs", async () => {
  const created = {
    token: new Secret("rkj1.secret"),
    id: "0123456789abcdef",
    expiresAt: "2026-11-21T00:10:00.000Z",
    uses: 1,
    node: null,
    cidr: null,
    role: "node" as const,
    policies: [],
  };
  const joinTokens = {
    create: () => Promise.resolve(created),
    list: () => Promise.resolve([]),
    revoke: () => Promise.reject(new RksError("NOT_FOUND", "no such token")),
  };
  await using server = await serveApi(anApi({ cluster: () => aCluster({ joinTokens }) }));
  expect(await server.client.request("POST", "/v1/rk8s/join-tokens", { role: "node" })).toEqual({
    data: {
      ...created,
      token: "rkj1.secret",
      rootCertPath: "/data/root.pem",
      // There is no such file.
      rootCertificates: null,
      address: "127.0.0.1:5",
    },
  });
  await expect(server.client.request("DELETE", "/v1/rk8s/join-tokens/x")).rejects.toMatchObject({
    code: "NOT_FOUND",
  });
});

test.each([
  { name: "a path that is none", method: "GET", target: "/nothing", body: undefined, status: 404 },
  {
    name: "a path of the cluster that is none",
    method: "GET",
    target: "/v1/rk8s/x",
    body: undefined,
    status: 404,
  },
  {
    name: "a method that a path does not take",
    method: "PUT",
    target: "/v1/rk8s/nodes",
    body: "{}",
    status: 501,
  },
  { name: "a body that is not JSON", method: "POST", target: "/v1/rk8s/join-tokens", body: "{", status: 400 },
  {
    name: "an unknown field",
    method: "POST",
    target: "/v1/rk8s/join-tokens",
    body: '{"ttl":7}',
    status: 400,
  },
  {
    name: "a huge body",
    method: "POST",
    target: "/v1/rk8s/join-tokens",
    body: `"${"x".repeat(100_000)}"`,
    status: 413,
  },
  {
    name: "a path that does not decode",
    method: "GET",
    target: "/v1/rk8s/nodes/%ff",
    body: undefined,
    status: 400,
  },
])("$name is answered with $status", async ({ method, target, body, status }) => {
  await using server = await serveApi(anApi({ cluster: () => aCluster({}) }));
  expect(await rawStatus(server.path, method, target, body)).toBe(status);
});

test("an error that is no RksError stays inside", async () => {
  await using server = await serveApi(anApi({ answer: () => Promise.reject(new Error("secret detail")) }));
  await expect(server.client.request("POST", "/v1/sys/seal")).rejects.toMatchObject({
    code: "INTERNAL",
    message: expect.not.stringContaining("secret detail"),
  });
});

test("garbage on the socket ends that connection and nothing else", async () => {
  await using server = await serveApi(anApi());
  await new Promise<void>((resolve) => {
    const socket = connect(path, () => socket.write("\u0000\u0001 garbage\r\n\r\n"));
    socket
      .on("close", () => resolve())
      .on("error", () => undefined)
      .resume();
  });
  expect(await server.client.request("GET", "/v1/sys/seal-status")).toMatchObject({ sealed: false });
});

test("messages is a stream in both directions at once", async () => {
  const echo = aCluster({
    serveStream: async (stream, { signal }) => {
      for (
        let bytes = await stream.read({ signal });
        bytes !== undefined;
        bytes = await stream.read({ signal })
      ) {
        await stream.write(bytes, { signal });
      }
      stream.end();
    },
  });
  await using server = await serveApi(anApi({ cluster: () => echo }));
  const received = await new Promise<string>((resolve, reject) => {
    const request = httpRequest({ socketPath: server.path, method: "POST", path: "/v1/rk8s/messages" });
    request.once("error", reject);
    request.once("response", (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        // The first half came back while the request was still open.
        if (text === "one") request.end("two");
      });
      response.on("end", () => resolve(text));
    });
    request.write("one");
  });
  expect(received).toBe("onetwo");
});

test("a client that goes away ends the stream it was reading", async () => {
  let ended: (reason: unknown) => void = () => undefined;
  const reason = new Promise((resolve) => (ended = resolve));
  const follow = aCluster({
    serveStream: async (stream, { signal }) => {
      await stream.write(new Uint8Array([1]));
      signal.addEventListener("abort", () => ended(signal.reason));
      await reason;
    },
  });
  await using server = await serveApi(anApi({ cluster: () => follow }));
  const request = httpRequest({ socketPath: server.path, method: "POST", path: "/v1/rk8s/messages" });
  request.on("error", () => undefined);
  request.once("response", (response) => response.once("data", () => request.destroy()));
  request.end();
  expect(await reason).toMatchObject({ code: "STREAM_RESET" });
});

test("closing tells streams to end and does not wait for those that do not", async () => {
  const started = new Promise<AbortSignal>((resolve) => {
    const hang = aCluster({
      serveStream: async (stream, { signal }) => {
        await stream.write(new Uint8Array([1]));
        resolve(signal);
        await new Promise(() => undefined);
      },
    });
    void (async () => {
      const server = await serveApi(anApi({ cluster: () => hang }));
      const request = httpRequest({ socketPath: path, method: "POST", path: "/v1/rk8s/messages" });
      request.on("error", () => undefined);
      request.on("response", (response) => response.resume().on("error", () => undefined));
      request.end();
      await started;
      await server[Symbol.asyncDispose]();
    })();
  });
  const signal = await started;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  expect(signal.reason).toMatchObject({ code: expect.stringMatching(/UNAVAILABLE|STREAM_RESET/) });
});

/** Status of a request as any HTTP client would send it. */
function rawStatus(
  socketPath: string,
  method: string,
  target: string,
  body?: string,
  headers: Record<string, string> = {},
): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, method, path: target, agent: false, headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.once("error", reject);
    request.end(body);
  });
}
