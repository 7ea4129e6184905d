import { cp, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMemoryTransport } from "@rk8s/protocol/testing";
import { RksError, type Transport } from "@rk8s/protocol";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ControlPlaneConfig } from "./config/config.js";
import { parseConfig } from "./config/parse-config.js";
import { type ControlPlane, createControlPlane } from "./control-plane.js";
import { openSocketClient } from "./http/socket-client.js";
import { initializeControlPlane } from "./initialize-control-plane.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-cp-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const aConfig = (yaml = ""): ControlPlaneConfig =>
  parseConfig(`addr: "127.0.0.1:0"\nhttp_addr: "127.0.0.1:0"\n${yaml}`, join(folder, "config.yaml")).config;

async function initialized(yaml = ""): Promise<ControlPlaneConfig> {
  const config = aConfig(yaml);
  await initializeControlPlane(config);
  return config;
}

const open = (
  config: ControlPlaneConfig,
  transport: Transport = createMemoryTransport(),
): Promise<ControlPlane> => createControlPlane(config, { transport });

async function keysOf(config: ControlPlaneConfig): Promise<readonly string[]> {
  const text = await readFile(join(config.vaultFolder, "keys.json"), "utf8");
  return (JSON.parse(text) as { readonly keys: readonly string[] }).keys;
}

test("opens unsealed with the keys that initialisation left, and serves agents and operators", async () => {
  const config = await initialized();
  await using controlPlane = await open(config);
  expect(controlPlane.sealed).toBe(false);
  expect(controlPlane.endpoints).toEqual({
    quic: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
    http: expect.stringMatching(/^https:\/\/127\.0\.0\.1:\d+$/),
    socket: join(config.vaultFolder, "rks.sock"),
  });
  const client = openSocketClient(controlPlane.endpoints.socket);
  expect(await client.request("GET", "/v1/rk8s/nodes")).toEqual({ data: { nodes: [] } });
});

test("a folder that was never initialised is refused, and nothing is made in it", async () => {
  const config = aConfig();
  await expect(open(config)).rejects.toMatchObject({ code: "VAULT_NOT_INITIALIZED" });
  await expect(stat(config.vaultFolder)).rejects.toMatchObject({ code: "ENOENT" });
});

test("a second one on the same folder is refused until the first is gone, and gen certs says initialised", async () => {
  const config = await initialized();
  {
    await using first = await open(config);
    await expect(open(config)).rejects.toMatchObject({
      code: "ALREADY_RUNNING",
      message: expect.stringContaining(String(process.pid)),
    });
    expect((await initializeControlPlane(config)).initialized).toBe(false);
    expect(first.sealed).toBe(false);
  }
  await using second = await open(config);
  expect(second.sealed).toBe(false);
});

test("without keys it waits sealed, and unsealing over the socket opens it", async () => {
  const config = await initialized("seal: { shares: 3, threshold: 2 }");
  const keys = await keysOf(config);
  await rename(join(config.vaultFolder, "keys.json"), join(folder, "keys.json"));
  await using controlPlane = await open(config);
  expect(controlPlane.endpoints.quic).toBeNull();
  const serving = controlPlane.whenServing(new AbortController().signal);
  const client = openSocketClient(controlPlane.endpoints.socket);
  await expect(client.request("GET", "/v1/rk8s/nodes")).rejects.toMatchObject({ code: "VAULT_SEALED" });
  await client.request("POST", "/v1/sys/unseal", { key: keys[0] });
  await client.request("POST", "/v1/sys/unseal", { key: keys[2] });
  expect(await serving).toMatchObject({ quic: expect.any(String) });
  expect(await client.request("GET", "/v1/rk8s/nodes")).toEqual({ data: { nodes: [] } });
});

test("keys of another vault leave it sealed", async () => {
  const config = await initialized();
  const keys = JSON.stringify({ keys: [Buffer.alloc(32, 7).toString("base64")], threshold: 1 });
  await writeFile(join(config.vaultFolder, "keys.json"), keys);
  await using controlPlane = await open(config);
  expect(controlPlane.sealed).toBe(true);
});

test.each([
  { name: "damaged", content: "{", mode: 0o600 },
  { name: "open to others", content: '{"keys":["x"],"threshold":1}', mode: 0o644 },
])("keys that are $name are refused by name", async ({ content, mode }) => {
  const config = await initialized();
  await rm(join(config.vaultFolder, "keys.json"));
  await writeFile(join(config.vaultFolder, "keys.json"), content, { mode });
  await expect(open(config)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("keys.json"),
  });
});

test("a key file opens it, too", async () => {
  const config = await initialized("seal: { type: keyfile, key_file: unseal.key }");
  await using controlPlane = await open(config);
  expect(controlPlane.sealed).toBe(false);
});

test("sealing closes what agents use, unsealing opens it again, over and over", async () => {
  const config = await initialized();
  const [key] = await keysOf(config);
  await using controlPlane = await open(config);
  const client = openSocketClient(controlPlane.endpoints.socket);
  const { quic } = controlPlane.endpoints;
  for (let round = 0; round < 3; round++) {
    await client.request("POST", "/v1/sys/seal");
    expect(controlPlane.endpoints.quic).toBeNull();
    expect(await client.request("GET", "/v1/rk8s/status")).toMatchObject({
      data: { sealed: true, quic: null },
    });
    await client.request("POST", "/v1/sys/unseal", { key });
    expect(controlPlane.endpoints.quic).toBe(quic);
  }
});

test("sealing and unsealing at the same time end in one of the two states, whole", async () => {
  const config = await initialized();
  const [key] = await keysOf(config);
  await using controlPlane = await open(config);
  await Promise.all([
    controlPlane.vault.seal(),
    controlPlane.vault.unseal(key!),
    controlPlane.vault.seal(),
    controlPlane.vault.unseal(key!),
  ]);
  expect(controlPlane.sealed).toBe(controlPlane.endpoints.quic === null);
});

test("an address that cannot be bound ends the start and frees the folder", async () => {
  const config = await initialized();
  const broken: Transport = {
    ...createMemoryTransport(),
    listen: () => Promise.reject(new RksError("UNREACHABLE", "the address is in use")),
  };
  await expect(open(config, broken)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await using controlPlane = await open(config);
  expect(controlPlane.sealed).toBe(false);
});

test("a socket path that is too long is refused before anything is served", async () => {
  const config = await initialized(`tls_config: { vault_folder: ${"x".repeat(110)} }`);
  await expect(open(config)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

test("run ends when it is told to, and whenServing gives up then", async () => {
  const config = await initialized();
  await rm(join(config.vaultFolder, "keys.json"));
  await using controlPlane = await open(config);
  const stop = new AbortController();
  const running = Promise.all([controlPlane.run(stop.signal), controlPlane.whenServing(stop.signal)]);
  stop.abort();
  expect(await running).toEqual([undefined, undefined]);
});

test("what was made before a restart is there after it", async () => {
  const config = await initialized();
  let id: string;
  {
    await using controlPlane = await open(config);
    ({ id } = await controlPlane.cluster().joinTokens.create({}, { actor: "test" }));
  }
  await using controlPlane = await open(config);
  expect(await controlPlane.cluster().joinTokens.list()).toMatchObject([{ id, status: "usable" }]);
});

test("every unsealing and sealing is in the audit log, with the state of the store", async () => {
  const config = await initialized();
  const controlPlane = await open(config);
  await controlPlane.cluster().joinTokens.create({}, { actor: "test" });
  await controlPlane[Symbol.asyncDispose]();
  const log = (await readFile(join(config.vaultFolder, "audit.log"), "utf8")).trimEnd().split("\n");
  const records = log.map((line) => JSON.parse(line) as { operation: string; sequence: number });
  expect(records.map(({ operation }) => operation)).toEqual([
    "vault.unseal",
    "server-certificate.issue",
    "server-certificate.issue",
    "join-token.create",
    "join-token.create",
    "vault.seal",
  ]);
  expect(records.at(-1)!.sequence).toBeGreaterThan(records[0]!.sequence);
});

test("an older copy of the store, with its used tokens unused, is not served until the operator says so", async () => {
  const config = await initialized();
  const store = join(config.vaultFolder, "store");
  const copy = join(folder, "copy");
  const audit = join(config.vaultFolder, "audit.log");
  await (await open(config))[Symbol.asyncDispose]();
  await cp(store, copy, { recursive: true });
  const controlPlane = await open(config);
  await controlPlane.cluster().joinTokens.create({}, { actor: "test" });
  await controlPlane[Symbol.asyncDispose]();

  await rm(store, { recursive: true });
  await rename(copy, store);
  await expect(open(config)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  await rename(audit, `${audit}.1`);
  await using again = await open(config);
  expect(again.sealed).toBe(false);
});

test("a new vault beside the audit log of another one is served", async () => {
  const config = await initialized();
  const controlPlane = await open(config);
  for (let made = 0; made < 30; made++) await controlPlane.cluster().joinTokens.create({}, { actor: "test" });
  await controlPlane[Symbol.asyncDispose]();
  for (const name of ["store", "keys.json", "root.pem"]) {
    await rm(join(config.vaultFolder, name), { recursive: true });
  }
  await initializeControlPlane(config);
  await using another = await open(config);
  expect(another.sealed).toBe(false);
});

test("a join token's address is one that agents can dial", async () => {
  const config = await initialized('advertise: ["rks.example"]');
  await using controlPlane = await open(config);
  expect(controlPlane.agentAddress()).toMatch(/^rks\.example:\d+$/);
});
