import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMemoryTransport } from "@rk8s/protocol/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  type ControlPlaneConfig,
  createControlPlane,
  type HttpTlsConfig,
  initializeControlPlane,
  parseConfig,
  restoreControlPlane,
  Secret,
  stayControlPlane,
  type StoreConfig,
} from "./index.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-program-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

test("a program makes, runs, backs up and restores a control plane with what the package exports", async () => {
  const store: StoreConfig = { type: "local" };
  const httpTls: HttpTlsConfig | undefined = undefined;
  const at = (name: string): ControlPlaneConfig => ({
    ...parseConfig('addr: "127.0.0.1:0"\nhttp_addr: ""', join(folder, "config.yaml")).config,
    vaultFolder: join(folder, name),
    store,
    httpTls,
  });
  const { unsealMaterial } = await initializeControlPlane(at("first"));
  const { keys } = JSON.parse(await readFile(unsealMaterial, "utf8")) as { readonly keys: readonly string[] };
  const shares = keys.map((key) => new Secret(key));
  const file = join(folder, "backup");
  {
    await using running = await createControlPlane(at("first"), { transport: createMemoryTransport() });
    await running.backupStore(file, { actor: "program", signal: new AbortController().signal });
  }

  expect(await restoreControlPlane(at("second"), { file, shares, adoptNodes: false })).toMatchObject({
    epoch: 1,
  });
  expect(
    await stayControlPlane(at("first"), { shares, isOtherLost: false, adoptNodes: false }),
  ).toMatchObject({ gaveUp: null });
});
