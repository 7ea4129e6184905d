import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { mkdtemp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { assertDone, Cluster } from "./cluster.js";
import { runOutside } from "./outside-program.js";
import { ROOT } from "./process.js";
import { type VaultApi, vaultApi } from "./vault-api.js";

/** The clients' scripts are examples that people copy; tests run them against a real rks. */
export const SCRIPTS = join(ROOT, "examples", "vault-clients");

/** A running rks for scripts of Vault clients. */
export class ScriptedVault implements AsyncDisposable {
  readonly folder: string;
  readonly api: VaultApi;
  /** What the clients read to find the vault. */
  readonly env: Readonly<Record<string, string>>;
  readonly #cluster: Cluster;

  private constructor(cluster: Cluster, api: VaultApi) {
    this.#cluster = cluster;
    this.folder = cluster.folder;
    this.api = api;
    this.env = { VAULT_ADDR: api.address, VAULT_TOKEN: api.token, VAULT_CACERT: cluster.rootCertPath };
  }

  static async start(): Promise<ScriptedVault> {
    const config = { tls_config: { vault_folder: "./data", keep_dangerous_files: true } };
    const cluster = await Cluster.start(config);
    return new ScriptedVault(cluster, await vaultApi(cluster));
  }

  /** A script's last line. @throws Error with what it said, when it fails. */
  async lastLine(program: string, args: readonly string[] = []): Promise<string> {
    const { stdout } = assertDone(await runOutside(program, args, { env: this.env, cwd: this.folder }));
    return stdout.trimEnd().split("\n").at(-1) ?? "";
  }

  /** A PKI mount with a root, for scripts that begin there. */
  async mountWithRoot(name: string, keyType = "ec"): Promise<string> {
    await this.api.write(`sys/mounts/${name}`, { type: "pki", config: { max_lease_ttl: "8760h" } });
    await this.api.write(`${name}/root/generate/internal`, {
      common_name: `${name} root`,
      ttl: "8700h",
      key_type: keyType,
    });
    return name;
  }

  /** Whether openssl finds a serial number in a PEM revocation list. */
  async isListed(crl: string, serial: string): Promise<boolean> {
    const folder = await mkdtemp(join(this.folder, "crl-"));
    await writeFile(join(folder, "crl.pem"), crl);
    const { stdout } = assertDone(
      await runOutside("openssl", ["crl", "-in", join(folder, "crl.pem"), "-noout", "-text"]),
    );
    return stdout.includes(`Serial Number: ${serial.replaceAll(":", "").toUpperCase()}`);
  }

  /**
   * Everything that `hvac/service-account.py` needs: a mount with a role for clients, a policy, a Kubernetes login.
   * Resolves with its arguments.
   */
  async prepareServiceAccount(mount: string): Promise<readonly string[]> {
    const { api } = this;
    await this.mountWithRoot(mount);
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
    const jwtFile = join(this.folder, "service-account.jwt");
    await writeFile(jwtFile, account.jwt, { mode: 0o600 });
    return ["cmk-api-server-role", jwtFile, mount, "client", "tenant-1.keystore.internal"];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster[Symbol.asyncDispose]();
  }
}

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
