import { createHash, generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { mkdtemp, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { assertDone, Cluster } from "./harness/cluster.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { runOutside } from "./harness/outside-program.js";
import { ROOT } from "./harness/process.js";
import { type VaultApi, vaultApi } from "./harness/vault-api.js";

/** The scripts are examples that people copy; here they run against a real rks. */
const SCRIPTS = join(ROOT, "examples", "vault-clients");
/** Debian's own, which its packages install for; another python may come first in the path. */
const PYTHON = "/usr/bin/python3";

let cluster: Cluster;
let api: VaultApi;
let env: Record<string, string>;
beforeAll(async () => {
  cluster = await Cluster.start({ tls_config: { vault_folder: "./data", keep_dangerous_files: true } });
  api = await vaultApi(cluster);
  env = { VAULT_ADDR: api.address, VAULT_TOKEN: api.token, VAULT_CACERT: cluster.rootCertPath };
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

/** A script's last line. */
async function outcome(program: string, args: readonly string[]): Promise<string> {
  const { stdout } = assertDone(await runOutside(program, args, { env, cwd: cluster.folder }));
  return stdout.trimEnd().split("\n").at(-1) ?? "";
}

/** A PKI mount with a root, for scripts that begin there. */
async function aMountWithRoot(name: string): Promise<string> {
  await api.write(`sys/mounts/${name}`, { type: "pki", config: { max_lease_ttl: "8760h" } });
  await api.write(`${name}/root/generate/internal`, {
    common_name: `${name} root`,
    ttl: "8700h",
    key_type: "ec",
  });
  return name;
}

/** Whether openssl finds a serial number in a PEM revocation list. */
async function isListed(crl: string, serial: string): Promise<boolean> {
  const folder = await mkdtemp(join(cluster.folder, "crl-"));
  await writeFile(join(folder, "crl.pem"), crl);
  const { stdout } = assertDone(
    await runOutside("openssl", ["crl", "-in", join(folder, "crl.pem"), "-noout", "-text"]),
  );
  return stdout.includes(`Serial Number: ${serial.replaceAll(":", "").toUpperCase()}`);
}

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
  const made = JSON.parse(
    await outcome(process.execPath, [join(SCRIPTS, "node-vault", "certificates.mjs")]),
  ) as {
    root: string;
    leaf: string;
  };
  const leaf = new X509Certificate(made.leaf);
  expect(leaf.verify(new X509Certificate(made.root).publicKey)).toBe(true);
  expect(leaf.subjectAltName).toBe("DNS:www.example.com");
});

test("hashi-vault-js", async () => {
  const mount = await aMountWithRoot("pki-hashi-vault-js");
  const script = join(SCRIPTS, "hashi-vault-js", "certificates.mjs");
  const made = JSON.parse(await outcome(process.execPath, [script, mount])) as { serial: string };
  expect(await isListed(await api.raw(`${mount}/crl/pem`), made.serial)).toBe(true);
});

suiteThatNeeds(["openssl", "curl"], "curl and openssl", () => {
  test("what curl makes, openssl accepts, and what was revoked it refuses", async () => {
    const folder = await mkdtemp(join(cluster.folder, "curl-"));
    const mount = await outcome(join(SCRIPTS, "curl", "certificates.sh"), [folder]);
    const check = [`${api.address}/v1/${mount}`, folder];
    const { stdout } = assertDone(await runOutside(join(SCRIPTS, "openssl", "check.sh"), check, { env }));
    expect(stdout).toContain("own.pem: good");
    expect(stdout).toContain("leaf.pem: revoked");
    expect(stdout).not.toContain("own.pem: revoked");
  });
});

suiteThatNeeds(["hvac", "openssl"], "hvac", () => {
  test("a certificate authority from root to revocation", async () => {
    const made = JSON.parse(await outcome(PYTHON, [join(SCRIPTS, "hvac", "certificates.py")])) as {
      serial: string;
      crl: string;
    };
    expect(await isListed(made.crl, made.serial)).toBe(true);
  });

  test("a service account logs in, gets a certificate and gives it back", async () => {
    const mount = await aMountWithRoot("pki-client-certs");
    await api.write(`${mount}/roles/client`, {
      allowed_domains: "keystore.internal",
      allow_subdomains: true,
      server_flag: false,
      client_flag: true,
      key_type: "ec",
      max_ttl: "720h",
    });
    await api.write("sys/policies/acl/client-certs", {
      policy: `path "${mount}/issue/client" { capabilities = ["update"] }
path "${mount}/roles/client" { capabilities = ["read"] }
path "${mount}/config/*" { capabilities = ["read"] }
path "${mount}/revoke" { capabilities = ["update"] }`,
    });
    const account = aServiceAccount("openkcm-system", "cmk-api-server");
    await api.write("sys/auth/kubernetes", { type: "kubernetes" });
    await api.write("auth/kubernetes/config", {
      kubernetes_host: "https://127.0.0.1:1",
      pem_keys: [account.publicKey],
      disable_iss_validation: true,
    });
    await api.write("auth/kubernetes/role/cmk-api-server-role", {
      bound_service_account_names: ["cmk-api-server"],
      bound_service_account_namespaces: ["openkcm-system"],
      policies: ["client-certs"],
      ttl: "1h",
    });
    const jwtFile = join(cluster.folder, "service-account.jwt");
    await writeFile(jwtFile, account.jwt, { mode: 0o600 });
    const script = join(SCRIPTS, "hvac", "service-account.py");
    const args = ["cmk-api-server-role", jwtFile, mount, "client", "tenant-1.keystore.internal"];
    const made = JSON.parse(await outcome(PYTHON, [script, ...args])) as { serial: string; crl: string };
    expect(await isListed(made.crl, made.serial)).toBe(true);
  });
});

suiteThatNeeds(["ansible"], "ansible", () => {
  test("a playbook of community.hashi_vault", async () => {
    const mount = await aMountWithRoot("pki-ansible");
    const playbook = join(SCRIPTS, "ansible", "certificates.yaml");
    const args = ["-e", `mount=${mount}`, "-e", `ansible_python_interpreter=${PYTHON}`, playbook];
    const { stdout } = assertDone(await runOutside("ansible-playbook", args, { env, cwd: cluster.folder }));
    const serial = /serial=([0-9a-f:]+)/.exec(stdout)?.[1] ?? "";
    expect((await api.read(`${mount}/cert/${serial}`))["certificate"]).toMatch(/^-----BEGIN CERTIFICATE/);
  });
});

/** A service account's token as Kubernetes signs it, and the key to check it with. */
function aServiceAccount(
  namespace: string,
  name: string,
): { readonly jwt: string; readonly publicKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
  const kid = createHash("sha256").update(pem).digest("base64url");
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: "https://kubernetes.default.svc.cluster.local",
    sub: `system:serviceaccount:${namespace}:${name}`,
    aud: ["https://kubernetes.default.svc.cluster.local"],
    iat: now,
    nbf: now,
    exp: now + 600,
    "kubernetes.io": { namespace, serviceaccount: { name, uid: "6f3c1c2e-0000-4000-8000-000000000001" } },
  };
  const parts = [{ alg: "RS256", typ: "JWT", kid }, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString("base64url"),
  );
  const signature = sign("sha256", Buffer.from(parts.join(".")), privateKey).toString("base64url");
  return { jwt: [...parts, signature].join("."), publicKey: pem };
}
