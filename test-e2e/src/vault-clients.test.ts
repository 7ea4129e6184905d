import { X509Certificate } from "node:crypto";
import { mkdtemp, readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { assertDone } from "./harness/cluster.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { runOutside } from "./harness/outside-program.js";
import { ScriptedVault, SCRIPTS } from "./harness/vault-scripts.js";

/** Debian's own, which its packages install for; another python may come first in the path. */
const PYTHON = "/usr/bin/python3";

let vault: ScriptedVault;
beforeAll(async () => {
  vault = await ScriptedVault.start();
});
afterAll(async () => {
  await vault?.[Symbol.asyncDispose]();
});

test("every script is run here or by the job for further clients", async () => {
  const files = await readdir(SCRIPTS, { recursive: true });
  const scripts = files.filter(
    (file) => /\.(py|mjs|sh|yaml|go)$/.test(file) && !file.includes("node_modules"),
  );
  expect(scripts.toSorted()).toEqual([
    "ansible/certificates.yaml",
    "curl/certificates.sh",
    "go-api/main.go",
    "hashi-vault-js/certificates.mjs",
    "hvac/certificates.py",
    "hvac/service-account.py",
    "node-vault/certificates.mjs",
    "openssl/check.sh",
  ]);
});

test("node-vault", async () => {
  const script = join(SCRIPTS, "node-vault", "certificates.mjs");
  const made = JSON.parse(await vault.lastLine(process.execPath, [script])) as {
    root: string;
    leaf: string;
  };
  const leaf = new X509Certificate(made.leaf);
  expect(leaf.verify(new X509Certificate(made.root).publicKey)).toBe(true);
  expect(leaf.subjectAltName).toBe("DNS:www.example.com");
});

suiteThatNeeds(["openssl"], "hashi-vault-js", () => {
  test("a role, a certificate, its revocation", async () => {
    const mount = await vault.mountWithRoot("pki-hashi-vault-js");
    const script = join(SCRIPTS, "hashi-vault-js", "certificates.mjs");
    const made = JSON.parse(await vault.lastLine(process.execPath, [script, mount])) as { serial: string };
    expect(await vault.isListed(await vault.api.raw(`${mount}/crl/pem`), made.serial)).toBe(true);
  });
});

suiteThatNeeds(["openssl", "curl"], "curl and openssl", () => {
  test("what curl makes, openssl accepts, and what was revoked it refuses", async () => {
    const folder = await mkdtemp(join(vault.folder, "curl-"));
    const mount = await vault.lastLine(join(SCRIPTS, "curl", "certificates.sh"), [folder]);
    const check = [`${vault.api.address}/v1/${mount}`, folder];
    const { stdout } = assertDone(
      await runOutside(join(SCRIPTS, "openssl", "check.sh"), check, { env: vault.env }),
    );
    expect(stdout).toContain("own.pem: good");
    expect(stdout).toContain("leaf.pem: revoked");
    expect(stdout).not.toContain("own.pem: revoked");
  });
});

suiteThatNeeds(["hvac", "openssl"], "hvac", () => {
  test("a certificate authority from root to revocation", async () => {
    const made = JSON.parse(await vault.lastLine(PYTHON, [join(SCRIPTS, "hvac", "certificates.py")])) as {
      serial: string;
      crl: string;
    };
    expect(await vault.isListed(made.crl, made.serial)).toBe(true);
  });

  test("a service account logs in, gets a certificate and gives it back", async () => {
    const args = await vault.prepareServiceAccount("pki-client-certs");
    const script = join(SCRIPTS, "hvac", "service-account.py");
    const made = JSON.parse(await vault.lastLine(PYTHON, [script, ...args])) as {
      serial: string;
      crl: string;
    };
    expect(await vault.isListed(made.crl, made.serial)).toBe(true);
  });
});

suiteThatNeeds(["ansible"], "ansible", () => {
  test("a playbook of community.hashi_vault", async () => {
    const mount = await vault.mountWithRoot("pki-ansible");
    const playbook = join(SCRIPTS, "ansible", "certificates.yaml");
    const args = ["-e", `mount=${mount}`, "-e", `ansible_python_interpreter=${PYTHON}`, playbook];
    const { stdout } = assertDone(
      await runOutside("ansible-playbook", args, { env: vault.env, cwd: vault.folder }),
    );
    const serial = /serial=([0-9a-f:]+)/.exec(stdout)?.[1] ?? "";
    const { certificate } = await vault.api.read(`${mount}/cert/${serial}`);
    expect(certificate).toMatch(/^-----BEGIN CERTIFICATE/);
  });
});
