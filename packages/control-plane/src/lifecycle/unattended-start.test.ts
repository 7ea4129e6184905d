import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMemoryTransport } from "@rk8s/protocol/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ControlPlaneConfig } from "../config/config.js";
import { parseConfig } from "../config/parse-config.js";
import { type ControlPlane, createControlPlane } from "../control-plane.js";
import { initializeControlPlane } from "../initialize-control-plane.js";
import type { JsonObject } from "../vault/backend.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-unattended-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function initialized(seal: string): Promise<ControlPlaneConfig> {
  const yaml = `addr: "127.0.0.1:0"\nhttp_addr: "127.0.0.1:0"\nseal: ${seal}\n`;
  const { config } = parseConfig(yaml, join(folder, "config.yaml"));
  await initializeControlPlane(config);
  return config;
}

const open = (config: ControlPlaneConfig): Promise<ControlPlane> =>
  createControlPlane(config, { transport: createMemoryTransport() });

async function write(controlPlane: ControlPlane, path: string, data: JsonObject): Promise<JsonObject> {
  const answer = await controlPlane.answer({ operation: "update", path, data, authority: "root" });
  return answer?.response.data ?? {};
}

async function keysOf(config: ControlPlaneConfig): Promise<readonly string[]> {
  const text = await readFile(join(config.vaultFolder, "keys.json"), "utf8");
  return (JSON.parse(text) as { readonly keys: readonly string[] }).keys;
}

async function rekey(controlPlane: ControlPlane, shares: readonly string[]): Promise<JsonObject> {
  const { nonce, required } = await write(controlPlane, "sys/rekey/init", {
    secret_shares: 3,
    secret_threshold: 2,
  });
  let last: JsonObject = {};
  for (const key of shares.slice(0, Number(required))) {
    last = await write(controlPlane, "sys/rekey/update", { key, nonce });
  }
  return last;
}

test("after a rekey the operator is told that keys.json is of no use, and nothing new is written to the disk", async () => {
  const config = await initialized("{ type: shamir, shares: 1, threshold: 1 }");
  const file = join(config.vaultFolder, "keys.json");
  const before = await readFile(file, "utf8");
  let fresh: readonly string[] = [];
  {
    await using controlPlane = await open(config);
    expect(await controlPlane.unattendedStart()).toBe("ready");
    const done = await rekey(controlPlane, await keysOf(config));
    fresh = done["keys_base64"] as readonly string[];
    expect(done["warnings"]).toEqual([expect.stringContaining(`"${file}" holds shares that do not open`)]);
    expect(controlPlane.sealed).toBe(false);
    expect(await controlPlane.unattendedStart()).toBe("unusable");
    expect(await readFile(file, "utf8")).toBe(before);
  }
  {
    await using sealed = await open(config);
    expect(sealed.sealStatus()).toMatchObject({ sealed: true, progress: 0, threshold: 2 });
  }
  // What the warning says to do.
  await writeFile(file, JSON.stringify({ keys: fresh.slice(0, 2), threshold: 2 }));
  await chmod(file, 0o600);
  await using again = await open(config);
  expect(again.sealed).toBe(false);
  expect(await again.unattendedStart()).toBe("ready");
});

test("old shares in keys.json are not in the way of new ones that people give", async () => {
  const config = await initialized("{ type: shamir, shares: 5, threshold: 3 }");
  let fresh: readonly string[] = [];
  {
    await using controlPlane = await open(config);
    fresh = (await rekey(controlPlane, await keysOf(config)))["keys_base64"] as readonly string[];
  }
  await using again = await open(config);
  for (const key of fresh.slice(1)) await write(again, "sys/unseal", { key });
  expect(again.sealed).toBe(false);
});

test("where nothing is kept nothing is said", async () => {
  const config = await initialized("{ type: shamir, shares: 1, threshold: 1 }");
  const keys = await keysOf(config);
  await using controlPlane = await open(config);
  await rm(join(config.vaultFolder, "keys.json"));
  expect(await controlPlane.unattendedStart()).toBe("none");
  expect(await rekey(controlPlane, keys)).not.toHaveProperty("warnings");
});

test.each([
  { name: "is damaged", damage: (file: string) => writeFile(file, "{") },
  { name: "is open to others", damage: (file: string) => chmod(file, 0o644) },
])("a keys.json that $name opens nothing", async ({ damage }) => {
  const config = await initialized("{ type: shamir, shares: 1, threshold: 1 }");
  await using controlPlane = await open(config);
  await damage(join(config.vaultFolder, "keys.json"));
  expect(await controlPlane.unattendedStart()).toBe("unusable");
});

test("a key file opens the vault at every start, also after the keys that encrypt were rotated", async () => {
  const config = await initialized(`{ type: keyfile, key_file: ${join(folder, "unseal.key")} }`);
  {
    await using controlPlane = await open(config);
    expect(await controlPlane.unattendedStart()).toBe("ready");
    await write(controlPlane, "sys/rotate", {});
    expect(await controlPlane.unattendedStart()).toBe("ready");
  }
  await using again = await open(config);
  expect(again.sealed).toBe(false);
});
