import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@rk8s/host";
import { openLmdbStorage } from "@rk8s/storage/lmdb";
import { decodePem } from "@rk8s/x509";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ControlPlaneConfig } from "../config/config.js";
import { parseConfig } from "../config/parse-config.js";
import { OfflineRoot } from "../pki/testing/offline-root.js";
import { initialize, type InitializationPorts, type InitializationResult } from "./initialize.js";
import { vaultFolderAt } from "./vault-folder.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-offline-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const PORTS: InitializationPorts = {
  clock: systemClock,
  openStorage: (path) => openLmdbStorage({ folder: path }),
};
const OFFLINE = "certificates: { root_key: offline }";
const aConfig = (yaml = ""): ControlPlaneConfig =>
  parseConfig(`${OFFLINE}\n${yaml}`, join(folder, "config.yaml")).config;

function requestOf({ waiting }: InitializationResult): Uint8Array {
  return decodePem(waiting!.request)[0]!.der;
}

async function bring(config: ControlPlaneConfig, root: OfflineRoot, csr: Uint8Array): Promise<void> {
  await writeFile(vaultFolderAt(config.vaultFolder).intermediate, root.answer(csr));
}

test.each(["", "seal: { shares: 3, threshold: 2 }", "seal: { type: keyfile, key_file: unseal.key }"])(
  "initialisation waits for the offline root, and ends when it has signed (%s)",
  async (yaml) => {
    const config = aConfig(yaml);
    const root = new OfflineRoot(Date.now());
    const first = await initialize(config, PORTS);
    expect(first).toMatchObject({ initialized: false, files: [] });
    const { requestFile } = first.waiting!;
    expect((await stat(requestFile)).mode & 0o777).toBe(0o644);
    expect(await readFile(requestFile, "utf8")).toBe(first.waiting!.request);
    expect(await readdir(config.vaultFolder)).not.toContain("store");
    // Again, while nothing has come: the same request.
    expect(await initialize(config, PORTS)).toEqual(first);

    await bring(config, root, requestOf(first));
    const done = await initialize(config, PORTS);
    expect(done.initialized).toBe(true);
    expect(done.files).toContain(done.rootCertificateFile);
    const [published] = decodePem(await readFile(done.rootCertificateFile));
    expect(published!.der).toEqual(root.certificate.der);
    const kept = yaml.includes("keyfile") ? [] : ["keys.json"];
    expect((await readdir(config.vaultFolder)).toSorted()).toEqual([...kept, "lock", "root.pem", "store"]);
    const third = await initialize(config, PORTS);
    expect([third.initialized, third.waiting]).toEqual([false, undefined]);
  },
);

test("what cannot be taken is refused, and the vault goes on waiting", async () => {
  const config = aConfig();
  const root = new OfflineRoot(Date.now());
  const first = await initialize(config, PORTS);
  const { intermediate } = vaultFolderAt(config.vaultFolder);
  for (const text of [
    "nonsense",
    root.pem,
    root.answer(requestOf(first), { pathLength: 3 }),
    "x".repeat(70_000),
  ]) {
    await writeFile(intermediate, text);
    await expect(initialize(config, PORTS)).rejects.toMatchObject({ code: "CERTIFICATE_INVALID" });
  }
  await rm(intermediate);
  expect(await initialize(config, PORTS)).toEqual(first);
});

test("killed at any moment, it goes on or begins anew, and always comes to its end", async () => {
  const root = new OfflineRoot(Date.now());
  for (let kill = 1; ; kill++) {
    await rm(join(folder, "rks-data"), { recursive: true, force: true });
    const config = aConfig();
    let steps = 0;
    const afterStep = async (): Promise<void> => {
      steps += 1;
      if (steps === kill) throw new Error("killed");
      await Promise.resolve();
    };
    const run = async (): Promise<InitializationResult> =>
      initialize(config, { ...PORTS, afterStep }).catch(async () => initialize(config, PORTS));
    const first = await run();
    await bring(config, root, requestOf(first));
    const done = await run();
    expect(await readdir(config.vaultFolder)).toEqual(expect.arrayContaining(["root.pem", "store"]));
    expect(done.waiting).toBeUndefined();
    if (steps < kill) break;
  }
}, 60_000);

test("the root token is handed out on demand, the root's key cannot be", async () => {
  const config = aConfig("tls_config: { keep_dangerous_files: true }");
  const first = await initialize(config, PORTS);
  await bring(config, new OfflineRoot(Date.now()), requestOf(first));
  const { dangerousFiles } = await initialize(config, PORTS);
  expect(dangerousFiles.map((file) => file.slice(config.vaultFolder.length + 1))).toEqual(["root_token.txt"]);
});

test("a seal that was changed meanwhile does not open the vault that waits", async () => {
  const first = await initialize(aConfig(), PORTS);
  const changed = aConfig("seal: { type: keyfile, key_file: unseal.key }");
  await bring(changed, new OfflineRoot(Date.now()), requestOf(first));
  await expect(initialize(changed, PORTS)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});
