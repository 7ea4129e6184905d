import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RksError, Secret, silentLogger } from "@rk8s/protocol";
import { afterEach, beforeEach, expect, test } from "vitest";
import { clusterRoutes } from "./cluster-routes.js";
import type { OperatorApi, OperatorCluster } from "./operator-api.js";
import type { VaultStatus } from "../vault/vault.js";
import type { Route } from "./router.js";
import { openSocketClient, type SocketClient } from "./socket-client.js";
import { serveSocket } from "./socket-server.js";
import { sysRoutes } from "./sys-routes.js";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-http-"));
  path = join(folder, "rks.sock");
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const UNSEALED: VaultStatus = {
  initialized: true,
  sealed: false,
  type: "shamir",
  threshold: 1,
  shares: 1,
  progress: 0,
  nonce: "",
  version: "1.2.3",
  buildDate: "",
  storageType: "lmdb",
  cluster: undefined,
};

/** An API whose every part can be replaced. */
function anApi(parts: Partial<OperatorApi> = {}): OperatorApi {
  return {
    endpoints: { quic: "127.0.0.1:5", http: null, socket: path },
    startedAt: "2026-11-21T00:00:00.000Z",
    rootCertificateFile: "/data/root.pem",
    agentAddress: () => "127.0.0.1:5",
    sealStatus: () => UNSEALED,
    unseal: () => Promise.resolve(UNSEALED),
    resetUnseal: () => Promise.resolve(UNSEALED),
    seal: () => Promise.resolve(),
    cluster: () => {
      throw new RksError("VAULT_SEALED", "the vault is sealed");
    },
    ...parts,
  };
}

function aCluster(parts: Partial<OperatorCluster>): OperatorCluster {
  return parts as OperatorCluster;
}

async function serve(
  routes: readonly Route[],
): Promise<AsyncDisposable & { readonly client: SocketClient; readonly path: string }> {
  const server = await serveSocket({ path, routes, drainMs: 200 }, { logger: silentLogger });
  return { client: openSocketClient(path), path, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

const serveApi = (api: OperatorApi): ReturnType<typeof serve> =>
  serve([...sysRoutes(api), ...clusterRoutes(api)]);

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
    serveSocket({ path: long, routes: [], drainMs: 0 }, { logger: silentLogger }),
  ).rejects.toMatchObject({
    code: "CONFIG_INVALID",
  });
  await expect(openSocketClient(long).request("GET", "/")).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

test("a folder that does not exist is told", async () => {
  await expect(
    serveSocket({ path: join(folder, "no", "rks.sock"), routes: [], drainMs: 0 }, { logger: silentLogger }),
  ).rejects.toMatchObject({ code: "STORAGE_UNWRITABLE" });
});

test("nothing that listens is unreachable, with the command that starts it", async () => {
  const client = openSocketClient(path, { startCommand: "rks start --config c.yaml" });
  await expect(client.request("GET", "/v1/sys/health")).rejects.toMatchObject({
    code: "UNREACHABLE",
    suggestion: expect.stringContaining("rks start --config c.yaml"),
  });
});

test("seal-status has Vault's shape, with the threshold in t and the shares in n", async () => {
  await using server = await serveApi(
    anApi({
      sealStatus: () => ({ ...UNSEALED, sealed: true, threshold: 2, shares: 3, progress: 1 }),
    }),
  );
  expect(await server.client.request("GET", "/v1/sys/seal-status")).toMatchObject({
    type: "shamir",
    initialized: true,
    sealed: true,
    t: 2,
    n: 3,
    progress: 1,
    version: expect.stringMatching(/^\d+\.\d+\.\d+/),
  });
});

test.each([
  { name: "unsealed", state: {}, status: 200 },
  { name: "sealed", state: { sealed: true }, status: 503 },
  { name: "not initialised", state: { sealed: true, initialized: false }, status: 501 },
])("health of a vault that is $name is $status", async ({ state, status }) => {
  await using server = await serveApi(anApi({ sealStatus: () => ({ ...UNSEALED, ...state }) }));
  expect(await rawStatus(server.path, "GET", "/v1/sys/health")).toBe(status);
  expect(await rawStatus(server.path, "HEAD", "/v1/sys/health")).toBe(status);
});

test("unseal passes the share on, reset forgets", async () => {
  const calls: string[] = [];
  const record = (call: string): Promise<VaultStatus> => {
    calls.push(call);
    return Promise.resolve(UNSEALED);
  };
  await using server = await serveApi(
    anApi({ unseal: (share) => record(`unseal ${share}`), resetUnseal: () => record("reset") }),
  );
  await server.client.request("POST", "/v1/sys/unseal", { key: "abc" });
  await server.client.request("POST", "/v1/sys/unseal", { reset: true });
  await expect(server.client.request("POST", "/v1/sys/unseal", {})).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  expect(calls).toEqual(["unseal abc", "reset"]);
});

test("seal answers 204", async () => {
  let sealed = 0;
  const seal = (): Promise<void> => {
    sealed += 1;
    return Promise.resolve();
  };
  await using server = await serveApi(anApi({ seal }));
  expect(await server.client.request("POST", "/v1/sys/seal")).toBeUndefined();
  expect(sealed).toBe(1);
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
  };
  const joinTokens = {
    create: () => Promise.resolve(created),
    list: () => Promise.resolve([]),
    revoke: () => Promise.reject(new RksError("NOT_FOUND", "no such token")),
  };
  await using server = await serveApi(anApi({ cluster: () => aCluster({ joinTokens }) }));
  expect(await server.client.request("POST", "/v1/rk8s/join-tokens", { role: "node" })).toEqual({
    data: { ...created, token: "rkj1.secret", rootCertPath: "/data/root.pem", address: "127.0.0.1:5" },
  });
  await expect(server.client.request("DELETE", "/v1/rk8s/join-tokens/x")).rejects.toMatchObject({
    code: "NOT_FOUND",
  });
});

test.each([
  { name: "a path that is none", method: "GET", target: "/v1/nothing", body: undefined, status: 404 },
  {
    name: "a method that a path does not take",
    method: "DELETE",
    target: "/v1/sys/seal",
    body: undefined,
    status: 501,
  },
  { name: "a body that is not JSON", method: "POST", target: "/v1/sys/unseal", body: "{", status: 400 },
  {
    name: "a body of the wrong shape",
    method: "POST",
    target: "/v1/sys/unseal",
    body: '{"key":7}',
    status: 400,
  },
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
    target: "/v1/sys/unseal",
    body: `"${"x".repeat(100_000)}"`,
    status: 413,
  },
  {
    name: "a parameter that does not decode",
    method: "GET",
    target: "/v1/rk8s/nodes/%ff",
    body: undefined,
    status: 404,
  },
])("$name is answered with $status", async ({ method, target, body, status }) => {
  await using server = await serveApi(anApi());
  expect(await rawStatus(server.path, method, target, body)).toBe(status);
});

test("an error that is no RksError stays inside", async () => {
  await using server = await serveApi(anApi({ seal: () => Promise.reject(new Error("secret detail")) }));
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
    serveStream: async (stream, signal) => {
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
    serveStream: async (stream, signal) => {
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
      serveStream: async (stream, signal) => {
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
function rawStatus(socketPath: string, method: string, target: string, body?: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, method, path: target, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.once("error", reject);
    request.end(body);
  });
}
