import { systemClock } from "@rk8s/host";
import { RksError, type Secret, silentLogger } from "@rk8s/protocol";
import { memoryStorage } from "@rk8s/storage";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JsonObject, Operation } from "../vault/backend.js";
import type { Vault } from "../vault/vault.js";
import { initializeClusterVault, openClusterVault } from "./cluster-vault.js";

/** What a vault of a control plane answers to its root token, whose power is the greatest there is. */
let vault: Vault;
let root: Secret<string>;
/** Holds a policy that grants every capability on every path, and on the CA's own by name. */
let mighty: string;

beforeAll(async () => {
  vault = await openClusterVault(
    { storage: memoryStorage(), type: "local" },
    { clock: systemClock, logger: silentLogger },
  );
  const made = await initializeClusterVault(vault, {
    seal: { shares: 1, threshold: 1 },
    trustDomain: "test.local",
    rootTtlSeconds: 86_400,
    handOutSecrets: true,
  });
  root = made.secrets!.rootToken;
  const everything = `capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]`;
  const paths = ["*", "+/*", "rk8s-pki/*", "rk8s-pki/sign/rks-node", "sys/*", "sys/mounts/rk8s-pki"];
  const policy = paths.map((path) => `path "${path}" { ${everything} }`).join("\n");
  await vault.write(root, "sys/policies/acl/mighty", { policy });
  const answer = await vault.write(root, "auth/token/create", { policies: ["mighty"] });
  mighty = answer?.auth?.client_token ?? "";
  await vault.write(root, "sys/mounts/pki", { type: "pki" });
});
afterAll(async () => {
  await vault[Symbol.asyncDispose]();
});

/** Ways to write the path of the CA, and what is next to it. */
const SPELLINGS = [
  "rk8s-pki",
  "rk8s-pki/",
  "/rk8s-pki",
  "//rk8s-pki",
  "rk8s-pki//",
  "./rk8s-pki",
  "rk8s-pki/.",
  "rk8s-pki/..",
  "pki/../rk8s-pki",
  "x/../rk8s-pki/",
  "%72k8s-pki",
  "rk8s%2dpki",
  "rk8s-pki%2f",
  "RK8S-PKI",
  "Rk8s-Pki",
  "rk8s-pki\u0000",
  "rk8s-pki\n",
  " rk8s-pki",
  "rk8s-pki ",
  "rk8s\u2010pki",
  "rk8s\u2011pki",
  "rk8s-p\u212ai",
  "rk8s-pk\u0131",
  "\uff52k8s-pki",
  "rk8s-pki\u200b",
  "rk8s-pki\\",
  "rk8s-pki;x",
  "rk8s-pki?x",
  "rk8s-pki#x",
  "v1/rk8s-pki",
] as const;

/** Everything that signs, makes or takes in keys and roles, in this engine or in Vault's. */
const SIGNING = [
  "root/generate/internal",
  "root/generate/exported",
  "root/rotate/internal",
  "root/replace",
  "root/sign-intermediate",
  "root/sign-self-issued",
  "root",
  "intermediate/generate/internal",
  "intermediate/set-signed",
  "intermediate/cross-sign",
  "config/ca",
  "config/issuers",
  "config/urls",
  "issuers/import/cert",
  "issuers/import/bundle",
  "issuers/generate/root/internal",
  "issuer/default",
  "issuer/default/sign/rks-node",
  "issuer/default/sign-verbatim",
  "issuer/default/issue/rks-node",
  "keys/import",
  "keys/generate/exported",
  "sign-verbatim",
  "sign-verbatim/rks-node",
  "sign/rks-node",
  "sign/rkl-node",
  "sign/operator",
  "issue/rks-node",
  "issue/operator",
  "issue/evil",
  "roles/evil",
  "roles/rks-node",
  "revoke",
  "tidy",
  "ca",
  "cert/ca",
  "",
] as const;
const WRITES = ["update", "patch", "delete"] as const;
const TIMEOUT_MS = 30_000;
const REFUSALS = ["PERMISSION_DENIED", "INPUT_INVALID", "NOT_FOUND", "UNSUPPORTED"];

async function outcome(
  clientToken: string | Secret<string>,
  operation: string,
  path: string,
  data: JsonObject,
): Promise<string> {
  try {
    await vault.handle({ operation: operation as Operation, path, data, clientToken });
    return "done";
  } catch (reason) {
    return RksError.from(reason).code;
  }
}

/** What the CA is made of, in the store, as it is now. */
async function closedState(): Promise<unknown> {
  const mounts = (await vault.read(root, "sys/mounts"))?.data as Record<string, { uuid: string }>;
  const { uuid } = mounts["rk8s-pki/"]!;
  const { entries } = await vault.barrier.list(`logical/${uuid}/`);
  const roles = await vault.list(root, "rk8s-pki/roles");
  const ca = await vault.read("", "rk8s-pki/ca/pem");
  return {
    uuid,
    entries: entries.map(({ key, modRevision }) => [key, modRevision]),
    roles: roles?.data,
    ca: ca?.data,
  };
}

test(
  "nobody signs, makes or changes anything through the CA's mount, however its path is written",
  { timeout: TIMEOUT_MS },
  async () => {
    const before = await closedState();
    const data = { common_name: "rks-cluster", csr: "x", pem_bundle: "x", allow_any_name: true, ttl: "1h" };
    const done: string[] = [];
    for (const token of [root, mighty]) {
      for (const mount of SPELLINGS) {
        // What differs by the path within the mount shows with the right spelling of the mount.
        const within =
          mount === "rk8s-pki" ? SIGNING : (["sign/rks-node", "root/generate/internal", ""] as const);
        for (const path of within) {
          for (const operation of WRITES) {
            const spelled = `${mount}/${path}`;
            const code = await outcome(token, operation, spelled, data);
            if (!REFUSALS.includes(code)) done.push(`${operation} ${JSON.stringify(spelled)}: ${code}`);
          }
        }
      }
    }
    expect(done).toEqual([]);
    expect(await closedState()).toEqual(before);
  },
);

/** Paths under `sys/` with which other vaults move, replace, tune and wrap mounts. */
const SYSTEM = [
  "sys/mounts/@",
  "sys/mounts/@/",
  "sys/mounts/@/tune",
  "sys/mounts/@/tune/",
  "sys/mounts/@/x",
  "sys/mounts/@/sign",
  "sys/mounts/@/sign/rks-node",
  "sys/mounts/pki/../@",
  "sys/remount",
  "sys/remount/@",
  "sys/auth/@",
  "sys/raw/core/mounts",
  "sys/raw/logical",
  "sys/plugins/catalog/secret/pki",
  "sys/plugins/reload/backend",
  "sys/namespaces/@",
  "sys/wrapping/wrap",
  "sys/internal/ui/mounts/@",
  "sys/leases/revoke-prefix/@",
  "auth/@",
] as const;

test(
  "nobody unmounts, tunes, moves, covers or replaces the CA's mount, however its path is written",
  { timeout: TIMEOUT_MS },
  async () => {
    const before = await closedState();
    const aliases: string[] = [];
    for (const token of [root, mighty]) {
      for (const spelling of SPELLINGS) {
        for (const system of SYSTEM) {
          for (const type of ["pki", "rk8s-pki"]) {
            for (const operation of WRITES) {
              const path = system.replace("@", spelling);
              const data = { type, from: spelling, to: "mine", max_lease_ttl: "1s", config: {}, value: "x" };
              const code = await outcome(token, operation, path, data);
              if (!REFUSALS.includes(code)) aliases.push(`${path} ${code}`);
            }
          }
        }
      }
    }
    // Another name is another mount with a root of its own: letters count, upper and lower case too.
    const own = /^sys\/mounts\/(?:RK8S-PKI|Rk8s-Pki|v1\/rk8s-pki)[\w/-]* (?:done|ALREADY_EXISTS)$/;
    // Login methods are mounted elsewhere, and the CA has no leases that could be revoked.
    const harmless = /^sys\/(?:auth|leases\/revoke-prefix)\/.* done$/;
    expect(aliases.filter((alias) => !own.test(alias) && !harmless.test(alias))).toEqual([]);
    expect(await closedState()).toEqual(before);
  },
);

test("the engine of the cluster's CA is mounted nowhere else, also not before", async () => {
  for (const path of ["mine", "rk8s", "rk8s-pki2", "a/rk8s-pki", "rk8s-pki/below"]) {
    expect(await outcome(root, "update", `sys/mounts/${path}`, { type: "rk8s-pki" })).toBe(
      "PERMISSION_DENIED",
    );
  }
  const mounts = (await vault.read(root, "sys/mounts"))?.data ?? {};
  expect(
    Object.values(mounts).filter((mount) => (mount as { type: string }).type === "rk8s-pki"),
  ).toHaveLength(1);
});

test("a role of the same name in a mount of one's own signs under one's own root only", async () => {
  await vault.write(root, "pki/root/generate/internal", { common_name: "mine" });
  await vault.write(root, "pki/roles/rks-node", { allow_any_name: true, enforce_hostnames: false });
  const issued = await vault.write(root, "pki/issue/rks-node", { common_name: "rks-cluster", ttl: "1h" });
  const clusterRoot = (await vault.read("", "rk8s-pki/ca/pem"))?.data?.["certificate"];
  expect(issued?.data?.["issuing_ca"]).not.toBe(clusterRoot);
});
