import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Finding } from "@rk8s/host/diagnosis";
import { encodePem } from "@rk8s/x509";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ControlPlaneConfig } from "../config/config.js";
import { parseConfig } from "../config/parse-config.js";
import { makeRoot } from "../pki/cluster-root.js";
import { OfflineRoot } from "../pki/testing/offline-root.js";
import { walkInstallation } from "./installation-walk.js";

const DAY_MS = 86_400_000;
const NOW = Date.UTC(2026, 0, 1);
const ETCD = "xline_config: { endpoints: [https://store-1:2379] }\n";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-doctor-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

/** What the doctor finds of a check, on the day. */
async function findingOf(check: string, text = "", nowMs = NOW): Promise<Finding> {
  const config: ControlPlaneConfig = parseConfig(text, join(folder, "config.yaml")).config;
  for await (const finding of walkInstallation(config, { nowMs })) {
    if (finding.check === check) return finding;
  }
  throw new Error(`the doctor did not look at ${check}`);
}

async function aVaultFolder(files: Readonly<Record<string, string>> = {}): Promise<void> {
  await mkdir(join(folder, "rks-data"));
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(folder, "rks-data", name), content, { mode: 0o600 });
  }
}

/** A root as rks makes it, PEM. */
function aRoot(days: number, name = "rk8s cluster root"): string {
  const { certificate } = makeRoot({ commonName: name, ttlSeconds: days * 86_400, now: NOW });
  return encodePem("CERTIFICATE", certificate.der);
}

describe("the vault folder", () => {
  test.each([
    { name: "the vault in it", files: { "storage.json": "{}" }, text: "", found: "is initialised" },
    {
      name: "the files of another rks, and a store outside",
      files: { "root.pem": "", "keys.json": "" },
      text: ETCD,
      found: 'waits for its first start, which looks for the vault at https://store-1:2379 under "/rk8s"',
    },
  ])("is well with $name", async ({ files, text, found }) => {
    await aVaultFolder(files);
    expect(await findingOf("vault folder", text)).toMatchObject({
      status: "ok",
      detail: expect.stringContaining(found),
    });
  });

  test.each([
    { name: "a store in it", text: "", remedy: "Run `rks gen certs --config FILE` first." },
    {
      name: "a store outside",
      text: ETCD,
      remedy: expect.stringContaining("for another rks of one that runs"),
    },
  ])("has no vault yet, for a config with $name", async ({ text, remedy }) => {
    await aVaultFolder();
    expect(await findingOf("vault folder", text)).toMatchObject({ code: "VAULT_NOT_INITIALIZED", remedy });
  });

  test("of a config without a store outside needs more than the files of another rks", async () => {
    await aVaultFolder({ "root.pem": "", "keys.json": "" });
    expect(await findingOf("vault folder")).toMatchObject({ code: "VAULT_NOT_INITIALIZED" });
  });
});

describe("secrets", () => {
  test("each one in clear is told, not only the first", async () => {
    await aVaultFolder({ "storage.json": "{}", "root.key": "", "keys.json": "" });
    const { status, detail, remedy } = await findingOf("secrets");
    expect(status).toBe("warn");
    expect(detail).toMatch(/^in clear on this host: .*root\.key; ".*keys\.json" opens the vault/);
    expect(remedy).toContain("keep_dangerous_files: false. Keep it only if");
  });

  test("the file of a database's URL is warned of when others may read it", async () => {
    await aVaultFolder({ "storage.json": "{}" });
    const file = join(folder, "database.url");
    await writeFile(file, "postgres://rks:hunter2@db/rks", { mode: 0o600 });
    const text = "sql_config: { url_file: database.url }\n";
    expect(await findingOf("secrets", text)).toMatchObject({ status: "ok" });
    await chmod(file, 0o604);
    expect(await findingOf("secrets", text)).toMatchObject({
      status: "warn",
      detail: `"${file}", the URL of the database, is open to other users`,
      remedy: `Run \`chmod 600 ${file}\`.`,
    });
  });
});

describe("the roots", () => {
  const roots = async (pem: string | undefined, days: number): Promise<Finding> => {
    await aVaultFolder({ "storage.json": "{}", ...(pem === undefined ? {} : { "root.pem": pem }) });
    return findingOf("root", "", NOW + days * DAY_MS);
  };

  test("one that is young is well", async () => {
    expect(await roots(aRoot(100), 50)).toMatchObject({
      status: "ok",
      detail: "the root certificate is valid until 2026-04-11T00:00:00.000Z",
    });
  });

  test("one that is old is to be followed by another", async () => {
    expect(await roots(aRoot(100), 95)).toMatchObject({
      status: "warn",
      remedy: "Begin a root rotation now: `rks ca prepare`.",
    });
  });

  test("one that is old and has a successor needs no other one", async () => {
    expect(await roots(aRoot(100) + aRoot(200, "rk8s cluster root 2"), 95)).toMatchObject({
      status: "warn",
      detail:
        "the root that signs is valid until 2026-04-11T00:00:00.000Z; others that are trusted, until 2026-07-20T00:00:00.000Z",
      remedy: "Go on with the root rotation: `rks ca status` says what is next.",
    });
  });

  test("one that is trusted still, and whose time is over, is looked at too", async () => {
    expect(await roots(aRoot(200, "rk8s cluster root 2") + aRoot(100), 101)).toMatchObject({
      status: "warn",
      remedy: "End the root rotation: `rks ca status` says how.",
    });
  });

  test("of one that was made here and has expired rks makes the next", async () => {
    expect(await roots(aRoot(100), 100)).toMatchObject({
      code: "CERTIFICATE_EXPIRED",
      remedy: expect.stringMatching(/^Set certificates\.root_rotation to auto/),
    });
  });

  test("an offline one is not rotated by rks", async () => {
    const { pem } = new OfflineRoot(NOW, { notAfter: NOW + 100 * DAY_MS });
    expect(await roots(pem, 95)).toMatchObject({
      status: "warn",
      remedy: "Move on to the next root now, as docs/offline-root.md says.",
    });
    await rm(join(folder, "rks-data"), { recursive: true });
    expect(await roots(pem, 100)).toMatchObject({
      code: "CERTIFICATE_EXPIRED",
      remedy: expect.stringMatching(/^Begin a new cluster/),
    });
  });

  test("an offline one that has expired behind its successor is followed by that", async () => {
    const { pem } = new OfflineRoot(NOW, { notAfter: NOW + 100 * DAY_MS });
    expect(await roots(pem + aRoot(200), 100)).toMatchObject({
      code: "CERTIFICATE_EXPIRED",
      remedy: expect.stringMatching(/^Set certificates\.root_rotation to auto/),
    });
  });

  test("none is no defect: rks writes the file", async () => {
    expect(await roots(undefined, 0)).toMatchObject({
      status: "warn",
      remedy: expect.stringMatching(/^Start rks/),
    });
  });

  test("a file that holds no certificate is told", async () => {
    expect(await roots("nothing", 0)).toMatchObject({ status: "fail", code: "CERTIFICATE_INVALID" });
  });
});
