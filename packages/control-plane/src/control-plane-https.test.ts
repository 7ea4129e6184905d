import { mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { request } from "node:https";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMemoryTransport } from "@rk8s/protocol/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ControlPlaneConfig } from "./config/config.js";
import { parseConfig } from "./config/parse-config.js";
import { type ControlPlane, createControlPlane } from "./control-plane.js";
import { openSocketClient } from "./http/socket-client.js";
import { initializeControlPlane } from "./initialize-control-plane.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-https-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function initialized(yaml = 'http_addr: "127.0.0.1:0"'): Promise<ControlPlaneConfig> {
  const text = `addr: "127.0.0.1:0"\ntls_config: { keep_dangerous_files: true }\n${yaml}`;
  const { config } = parseConfig(text, join(folder, "config.yaml"));
  await initializeControlPlane(config);
  return config;
}

const open = (config: ControlPlaneConfig): Promise<ControlPlane> =>
  createControlPlane(config, { transport: createMemoryTransport() });

interface Reply {
  readonly status: number;
  readonly body: unknown;
}

/** Ask over HTTPS, trusting nothing but the cluster's root and the name in the URL. */
async function ask(
  controlPlane: ControlPlane,
  method: string,
  path: string,
  options: { readonly token?: string; readonly body?: object } = {},
): Promise<Reply> {
  const ca = await readFile(controlPlane.rootCertificateFile);
  const headers = options.token === undefined ? {} : { "x-vault-token": options.token };
  const url = `${controlPlane.endpoints.http ?? ""}${path}`;
  return new Promise((resolve, reject) => {
    const asking = request(url, { method, ca, headers, agent: false }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: bodyOf(text) }));
    });
    asking.once("error", reject);
    asking.end(options.body === undefined ? undefined : JSON.stringify(options.body));
  });
}

function bodyOf(text: string): unknown {
  return text.startsWith("{") ? JSON.parse(text) : text;
}

const tokenOf = async (config: ControlPlaneConfig): Promise<string> =>
  (await readFile(join(config.vaultFolder, "root_token.txt"), "utf8")).trim();
const keyOf = async (config: ControlPlaneConfig): Promise<string> =>
  (JSON.parse(await readFile(join(config.vaultFolder, "keys.json"), "utf8")) as { keys: string[] }).keys[0] ??
  "";

test("HTTPS is served with the cluster's own certificate, which its root verifies", async () => {
  const config = await initialized();
  await using controlPlane = await open(config);
  expect(controlPlane.endpoints.http).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
  expect(await ask(controlPlane, "GET", "/v1/sys/health")).toMatchObject({
    status: 200,
    body: { sealed: false, cluster_name: "rk8s.local", version: expect.stringMatching(/^1\.14\.\d+\+rks\./) },
  });
  const token = await tokenOf(config);
  expect((await ask(controlPlane, "GET", "/v1/sys/mounts", { token })).status).toBe(200);
  expect((await ask(controlPlane, "GET", "/v1/sys/mounts")).status).toBe(403);
});

test("it opens at the first unseal and stays open, on the same port, when the vault is sealed later", async () => {
  const config = await initialized();
  const key = await keyOf(config);
  const token = await tokenOf(config);
  await rename(join(config.vaultFolder, "keys.json"), join(folder, "keys.json"));
  await using controlPlane = await open(config);
  expect(controlPlane.endpoints.http).toBeNull();
  await openSocketClient(controlPlane.endpoints.socket).request("POST", "/v1/sys/unseal", { key });
  const { http } = controlPlane.endpoints;
  expect(http).not.toBeNull();
  expect((await ask(controlPlane, "PUT", "/v1/sys/seal", { token })).status).toBe(204);
  expect(controlPlane.endpoints).toMatchObject({ quic: null, http });
  expect(await ask(controlPlane, "PUT", "/v1/sys/unseal", { body: { key } })).toMatchObject({
    status: 200,
    body: { sealed: false },
  });
  expect(controlPlane.endpoints).toMatchObject({ quic: expect.any(String), http });
  expect((await ask(controlPlane, "GET", "/readyz")).status).toBe(200);
});

test("who may not seal does not", async () => {
  const config = await initialized();
  await using controlPlane = await open(config);
  expect((await ask(controlPlane, "PUT", "/v1/sys/seal")).status).toBe(403);
  expect((await ask(controlPlane, "PUT", "/v1/sys/seal", { token: "hvs.wrong" })).status).toBe(403);
  expect(controlPlane.sealed).toBe(false);
});

test("while sealed every class of path says so, and what is for anyone is answered", async () => {
  const config = await initialized();
  const token = await tokenOf(config);
  await using controlPlane = await open(config);
  await controlPlane.vault.write(token, "sys/mounts/pki", { type: "pki" });
  await controlPlane.vault.seal();
  for (const [method, path] of [
    ["GET", "/v1/sys/mounts"],
    ["GET", "/v1/sys/policies/acl/default"],
    ["PUT", "/v1/sys/seal"],
    ["POST", "/v1/sys/rotate"],
    ["GET", "/v1/pki/ca"],
    ["GET", "/v1/pki/crl"],
    ["POST", "/v1/pki/issue/web"],
    ["GET", "/v1/rk8s-pki/ca/pem"],
    ["POST", "/v1/auth/token/create"],
    ["GET", "/v1/auth/token/lookup-self"],
    ["POST", "/v1/auth/approle/login"],
    ["GET", "/v1/none/x"],
    ["GET", "/metrics"],
  ] as const) {
    expect([path, await ask(controlPlane, method, path, { token })]).toEqual([
      path,
      { status: 503, body: expect.objectContaining({ errors: ["Vault is sealed"] }) },
    ]);
  }
  for (const [path, status] of [
    ["/v1/sys/health", 503],
    ["/v1/sys/health?sealedcode=299", 299],
    ["/v1/sys/seal-status", 200],
    ["/v1/sys/init", 200],
    ["/v1/rk8s/status", 403],
    ["/livez", 200],
    ["/healthz", 200],
    ["/readyz", 503],
  ] as const) {
    expect([path, (await ask(controlPlane, "GET", path)).status]).toEqual([path, status]);
  }
});

test("on the socket an operator needs no token, and tokens made there outlive it", async () => {
  const config = await initialized();
  await using controlPlane = await open(config);
  const client = openSocketClient(controlPlane.endpoints.socket);
  const made = (await client.request("POST", "/v1/auth/token/create", { policies: ["default"] })) as {
    readonly auth: { readonly client_token: string; readonly orphan: boolean };
  };
  expect(made.auth.orphan).toBe(true);
  const { client_token: token } = made.auth;
  expect((await ask(controlPlane, "GET", "/v1/auth/token/lookup-self", { token })).status).toBe(200);
  expect((await ask(controlPlane, "GET", "/v1/sys/mounts", { token })).status).toBe(403);
});

test("metrics are for who may read them, and name neither paths nor tokens of clients", async () => {
  const config = await initialized();
  const token = await tokenOf(config);
  await using controlPlane = await open(config);
  await ask(controlPlane, "GET", "/v1/very-secret-mount/a", { token });
  await ask(controlPlane, "GET", "/v1/sys/mounts?list=true", { token });
  expect((await ask(controlPlane, "GET", "/metrics")).status).toBe(403);
  for (const path of ["/metrics", "/v1/sys/metrics?format=prometheus"]) {
    const { status, body } = await ask(controlPlane, "GET", path, { token });
    expect([status, body]).toEqual([200, expect.stringContaining("rks_vault_sealed 0")]);
    expect(body).toContain('route="/v1/*",method="GET",status="404"');
    expect(body).not.toContain("very-secret");
    expect(body).not.toContain(token);
  }
});

test("an empty address serves nothing", async () => {
  await using controlPlane = await open(await initialized('http_addr: ""'));
  expect(controlPlane.endpoints.http).toBeNull();
  expect(controlPlane.sealed).toBe(false);
});

test("an address that is taken ends the start with its name, and frees the folder", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => taken.once("listening", resolve));
  const { port } = taken.address() as AddressInfo;
  const config = await initialized(`http_addr: "127.0.0.1:${port}"`);
  await expect(open(config)).rejects.toMatchObject({
    code: "UNAVAILABLE",
    message: expect.stringContaining(String(port)),
  });
  await new Promise((resolve) => taken.close(resolve));
  await using controlPlane = await open(config);
  expect(controlPlane.endpoints.http).toContain(String(port));
});
