import { createPrivateKey, X509Certificate } from "node:crypto";
import { chmod, cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@rk8s/host";
import { silentLogger } from "@rk8s/protocol";
import { openLmdbStorage } from "@rk8s/storage/lmdb";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseConfig } from "../config/parse-config.js";
import type { ControlPlaneConfig } from "../config/config.js";
import { clusterCaOf, openClusterVault } from "./cluster-vault.js";
import { initialize, type InitializationPorts } from "./initialize.js";
import { readUnsealMaterial } from "./unseal-material.js";
import { vaultFolderAt } from "./vault-folder.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-init-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const PORTS: InitializationPorts = {
  clock: systemClock,
  openStorage: (path) => openLmdbStorage({ folder: path }),
};

const aConfig = (yaml = "", at = folder): ControlPlaneConfig =>
  parseConfig(yaml, join(at, "config.yaml")).config;

const modeOf = async (file: string): Promise<number> => (await stat(file)).mode & 0o777;

/** Open the vault of a config with what initialisation left beside it; gives its root certificate. */
async function rootOfOpened(config: ControlPlaneConfig): Promise<X509Certificate> {
  const vaultFolder = vaultFolderAt(config.vaultFolder);
  await using storage = await openLmdbStorage({ folder: vaultFolder.store });
  await using vault = await openClusterVault(
    { storage, type: "local" },
    { clock: systemClock, logger: silentLogger },
  );
  const material = await readUnsealMaterial(config.seal, vaultFolder);
  for (const share of material?.shares ?? []) if (vault.status().sealed) await vault.unseal(share);
  return new X509Certificate(clusterCaOf(vault).root);
}

test("leaves a store, the root certificate and the unseal keys, each readable by those who may", async () => {
  const config = aConfig();
  const result = await initialize(config, PORTS);
  expect(result).toMatchObject({ initialized: true, dangerousFiles: [] });
  expect((await readdir(config.vaultFolder)).toSorted()).toEqual(["keys.json", "lock", "root.pem", "store"]);
  expect(await modeOf(join(config.vaultFolder, "store"))).toBe(0o700);
  expect(await modeOf(join(config.vaultFolder, "lock"))).toBe(0o700);
  expect(await modeOf(join(config.vaultFolder, "root.pem"))).toBe(0o644);
  expect(await modeOf(join(config.vaultFolder, "keys.json"))).toBe(0o600);
  const root = new X509Certificate(await readFile(join(config.vaultFolder, "root.pem")));
  expect((await rootOfOpened(config)).fingerprint256).toBe(root.fingerprint256);
  expect(root.ca).toBe(true);
});

test("a second time changes nothing", async () => {
  const config = aConfig();
  await initialize(config, PORTS);
  const before = await readFile(join(config.vaultFolder, "keys.json"), "utf8");
  expect(await initialize(config, PORTS)).toMatchObject({ initialized: false, files: [] });
  expect(await readFile(join(config.vaultFolder, "keys.json"), "utf8")).toBe(before);
});

test("of several at the same time one initialises, and the vault it made opens", async () => {
  const config = aConfig();
  const results = await Promise.allSettled([1, 2, 3, 4].map(() => initialize(config, PORTS)));
  const winners = results.filter((result) => result.status === "fulfilled" && result.value.initialized);
  expect(winners).toHaveLength(1);
  await rootOfOpened(config);
});

test("m of n shares open the vault", async () => {
  const config = aConfig("seal: { shares: 5, threshold: 3 }");
  await initialize(config, PORTS);
  const keys = JSON.parse(await readFile(join(config.vaultFolder, "keys.json"), "utf8")) as {
    keys: string[];
  };
  expect(keys).toEqual({ keys: expect.any(Array), threshold: 3 });
  expect(keys.keys).toHaveLength(5);
  await rootOfOpened(config);
});

test("a key file is made once and used again", async () => {
  const config = aConfig("seal: { type: keyfile, key_file: keys/unseal.key }");
  const result = await initialize(config, PORTS);
  expect(result.files).toContain(join(folder, "keys/unseal.key"));
  expect(await modeOf(join(folder, "keys/unseal.key"))).toBe(0o600);
  expect(await readdir(config.vaultFolder)).not.toContain("keys.json");
  await rootOfOpened(config);
});

test("keep_dangerous_files writes a root key that is the root certificate's, and the root token", async () => {
  const config = aConfig("tls_config: { keep_dangerous_files: true }");
  const { dangerousFiles } = await initialize(config, PORTS);
  expect(dangerousFiles.map((file) => file.slice(config.vaultFolder.length + 1))).toEqual([
    "root_token.txt",
    "root.key",
  ]);
  for (const file of dangerousFiles) expect(await modeOf(file)).toBe(0o600);
  const key = createPrivateKey(await readFile(join(config.vaultFolder, "root.key")));
  const root = await rootOfOpened(config);
  expect(root.checkPrivateKey(key)).toBe(true);
});

test("trust domain and lifetime of the root come from the config", async () => {
  const config = aConfig("certificates: { root_ttl: 30s }");
  await initialize(config, PORTS);
  const root = await rootOfOpened(config);
  expect(Math.abs(Date.parse(root.validTo) - Date.now() - 30_000)).toBeLessThan(5000);
});

test("unseal keys of a vault that is not there are not overwritten", async () => {
  const config = aConfig();
  await initialize(config, PORTS);
  await rm(join(config.vaultFolder, "store"), { recursive: true });
  await expect(initialize(config, PORTS)).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
});

test("killed after any step, it leaves nothing or something complete, and running it again always ends well", async () => {
  const config = aConfig("tls_config: { keep_dangerous_files: true }\nseal: { shares: 3, threshold: 2 }");
  const crashes: string[] = [];
  await initialize(config, {
    ...PORTS,
    afterStep: async (step) => {
      const crash = join(folder, `crash-${crashes.length}`);
      crashes.push(`${crash} ${step}`);
      await cp(config.vaultFolder, join(crash, "rks-data"), { recursive: true });
    },
  });
  expect(crashes.length).toBeGreaterThan(8);
  for (const crash of crashes) {
    const [at] = crash.split(" ");
    const crashed = aConfig(
      "tls_config: { keep_dangerous_files: true }\nseal: { shares: 3, threshold: 2 }",
      at,
    );
    // The killed process held the lock; here it is this very process, which still lives.
    await rm(join(crashed.vaultFolder, "lock"), { recursive: true });
    await initialize(crashed, PORTS);
    const names = (await readdir(crashed.vaultFolder)).filter((name) => name !== "lock").toSorted();
    expect(names).toEqual(["keys.json", "root.key", "root.pem", "root_token.txt", "store"]);
    const root = new X509Certificate(await readFile(join(crashed.vaultFolder, "root.pem")));
    expect((await rootOfOpened(crashed)).fingerprint256).toBe(root.fingerprint256);
  }
}, 30_000);

test("a folder that cannot be written is told, and nothing is left", async () => {
  await chmod(folder, 0o500);
  // Modes do not stop root; what the kernel shows of itself does.
  const unwritable = process.getuid?.() === 0 ? "/sys" : folder;
  const before = await readdir(unwritable);
  await expect(initialize(aConfig("", unwritable), PORTS)).rejects.toMatchObject({
    code: "STORAGE_UNWRITABLE",
  });
  await chmod(folder, 0o700);
  expect(await readdir(unwritable)).toEqual(before);
});

test("a file where the folder should be is told", async () => {
  await writeFile(join(folder, "rks-data"), "");
  await expect(initialize(aConfig(), PORTS)).rejects.toMatchObject({ code: "STORAGE_UNWRITABLE" });
});

test("a store that cannot be made leaves no half of anything", async () => {
  const full = Object.assign(new Error("no space"), { code: "ENOSPC" });
  const config = aConfig();
  await expect(
    initialize(config, { ...PORTS, openStorage: () => Promise.reject(full) }),
  ).rejects.toMatchObject({
    code: "STORAGE_FULL",
  });
  expect(await readdir(config.vaultFolder)).toEqual(["lock"]);
  expect((await initialize(config, PORTS)).initialized).toBe(true);
});
