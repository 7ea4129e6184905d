import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { ScriptedVault, SCRIPTS } from "../src/harness/vault-scripts.js";

/** What `scripts/more-clients.mjs` found or made: a program of the Go client, a python with the newest hvac. */
const { goClient, python } = z
  .object({ goClient: z.string().optional(), python: z.string().optional() })
  .parse(JSON.parse(z.string().parse(process.env["RK8S_MORE_CLIENTS"])));

let vault: ScriptedVault;
beforeAll(async () => {
  vault = await ScriptedVault.start();
});
afterAll(async () => {
  await vault?.[Symbol.asyncDispose]();
});

describe.runIf(goClient !== undefined)("the official Go client", () => {
  test("a certificate authority, policies, wrapping, secrets", async () => {
    const serial = await vault.lastLine(goClient ?? "");
    const mounts = Object.keys(await vault.api.read("sys/mounts"));
    const mount = mounts.find((name) => name.startsWith("pki-go-")) ?? "none/";
    expect(await vault.isListed(await vault.api.raw(`${mount}crl/pem`), serial)).toBe(true);
  });
});

describe.runIf(python !== undefined)("the newest hvac", () => {
  test("a certificate authority from root to revocation", async () => {
    const script = join(SCRIPTS, "hvac", "certificates.py");
    const made = JSON.parse(await vault.lastLine(python ?? "", [script])) as { serial: string; crl: string };
    expect(await vault.isListed(made.crl, made.serial)).toBe(true);
  });

  test("a service account logs in, gets a certificate and gives it back", async () => {
    const args = await vault.prepareServiceAccount("pki-client-certs");
    const script = join(SCRIPTS, "hvac", "service-account.py");
    const made = JSON.parse(await vault.lastLine(python ?? "", [script, ...args])) as {
      serial: string;
      crl: string;
    };
    expect(await vault.isListed(made.crl, made.serial)).toBe(true);
  });
});
