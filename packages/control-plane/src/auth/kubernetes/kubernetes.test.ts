import { createHmac, generateKeyPairSync, type KeyObject } from "node:crypto";

import { SignJWT, UnsecuredJWT } from "jose";
import { expect, test } from "vitest";

import type { JsonObject } from "../../vault/backend.js";
import { aLoginVault, type LoginVault } from "../testing/login-vault.js";
import { kubernetesLogin } from "./kubernetes-backend.js";

const NOW_SECONDS = 1_800_000_000;
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });

const pem = (key: KeyObject): string => key.export({ type: "spki", format: "pem" }) as string;

/** As Kubernetes makes them for pods. */
function claims(more: JsonObject = {}): JsonObject {
  return {
    aud: ["https://kubernetes.default.svc"],
    exp: NOW_SECONDS + 3600,
    iat: NOW_SECONDS,
    nbf: NOW_SECONDS,
    iss: "https://kubernetes.default.svc",
    sub: "system:serviceaccount:prod:api-server",
    "kubernetes.io": {
      namespace: "prod",
      pod: { name: "api-0", uid: "p" },
      serviceaccount: { name: "api-server", uid: "uid-1" },
    },
    ...more,
  };
}

function aToken(more: JsonObject = {}, key: KeyObject = ec.privateKey, alg = "ES256"): Promise<string> {
  return new SignJWT({ ...claims(more) }).setProtectedHeader({ alg }).sign(key);
}

async function aKubernetesVault(role: JsonObject = {}, config: JsonObject = {}): Promise<LoginVault> {
  const vault = await aLoginVault("kubernetes", (clock) => kubernetesLogin({ clock }));
  await vault.ask("update", "config", { pem_keys: [pem(rsa.publicKey), pem(ec.publicKey)], ...config });
  await vault.ask("update", "role/api", {
    bound_service_account_names: "api-*",
    bound_service_account_namespaces: ["prod", "staging-*"],
    policies: "pki",
    ...role,
  });
  return vault;
}

test("a pod logs in with the token of its service account, checked by the configured keys", async () => {
  await using vault = await aKubernetesVault({ ttl: "20m" });
  expect(await vault.login({ role: "api", jwt: await aToken() })).toMatchObject({
    policies: ["default", "pki"],
    lease_duration: 1200,
    metadata: {
      role: "api",
      service_account_name: "api-server",
      service_account_namespace: "prod",
      service_account_secret_name: "",
      service_account_uid: "uid-1",
    },
  });
  await vault.login({ role: "api", jwt: await aToken({}, rsa.privateKey, "RS256") });
});

test("tokens that are kept in Secrets log in as well", async () => {
  await using vault = await aKubernetesVault({ alias_name_source: "serviceaccount_name" });
  const jwt = await aToken({
    exp: undefined,
    "kubernetes.io": undefined,
    iss: "kubernetes/serviceaccount",
    "kubernetes.io/serviceaccount/namespace": "staging-1",
    "kubernetes.io/serviceaccount/service-account.name": "api-old",
    "kubernetes.io/serviceaccount/service-account.uid": "uid-2",
    "kubernetes.io/serviceaccount/secret.name": "api-old-token-x",
  });
  expect((await vault.login({ role: "api", jwt })).metadata).toMatchObject({
    service_account_name: "api-old",
    service_account_secret_name: "api-old-token-x",
  });
});

test.each([
  { name: "another name", claim: { "kubernetes.io": account("web", "prod") }, text: "service account name" },
  { name: "another namespace", claim: { "kubernetes.io": account("api-1", "staging") }, text: "namespace" },
  { name: "no service account", claim: { "kubernetes.io": {} }, text: "does not name" },
  { name: "a time that is over", claim: { exp: NOW_SECONDS - 61 }, text: "expired" },
  { name: "a time to come", claim: { nbf: NOW_SECONDS + 120 }, text: `"nbf"` },
  { name: "a time that is no number", claim: { exp: "soon" }, text: `"exp"` },
])("a token with $name is refused", async ({ claim, text }) => {
  await using vault = await aKubernetesVault();
  const jwt = await aToken(claim);
  const error = await failure(vault.login({ role: "api", jwt }));
  expect(error).toMatchObject({
    code: "PERMISSION_DENIED",
    message: expect.stringContaining(text) as string,
  });
});

function account(name: string, namespace: string): JsonObject {
  return { namespace, serviceaccount: { name, uid: "u" } };
}

test("clocks may differ by a minute", async () => {
  await using vault = await aKubernetesVault();
  const jwt = await aToken({ exp: NOW_SECONDS - 59, nbf: NOW_SECONDS + 59 });
  expect(await vault.login({ role: "api", jwt })).toMatchObject({ renewable: true });
});

test("audience and issuer must be the expected ones where a role or the configuration names them", async () => {
  await using vault = await aKubernetesVault({ audience: "vault" }, { disable_iss_validation: false });
  const old = "kubernetes/serviceaccount";
  await vault.login({ role: "api", jwt: await aToken({ aud: ["x", "vault"], iss: old }) });
  for (const claim of [{ iss: old }, { aud: "vault" }, { aud: [], iss: old }]) {
    await expect(vault.login({ role: "api", jwt: await aToken(claim) })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
  }
});

test("signatures by others, by nobody and by the public key as a secret are refused", async () => {
  await using vault = await aKubernetesVault();
  const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const wide = generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey;
  const unsigned = new UnsecuredJWT({ ...claims() }).encode();
  const [header, payload] = [{ alg: "HS256" }, claims()].map((part) =>
    Buffer.from(JSON.stringify(part)).toString("base64url"),
  );
  const mac = createHmac("sha256", pem(ec.publicKey)).update(`${header}.${payload}`).digest("base64url");
  const good = await aToken();
  const forged = [
    await aToken({}, stranger),
    await aToken({}, wide, "ES384"),
    unsigned,
    `${header}.${payload}.${mac}`,
    good.slice(0, -4),
    `${good}x`,
    `${good}.x`,
    `.${good.split(".")[1]}.`,
    "x",
    `!.${good.split(".")[1]}.!`,
  ];
  for (const jwt of forged) {
    const error = await failure(vault.login({ role: "api", jwt }));
    expect(error).toMatchObject({ code: "PERMISSION_DENIED" });
    expect(JSON.stringify([error.message, error])).not.toContain(jwt.slice(0, 30).padEnd(10, "?"));
  }
});

test("a token that is too large, and one that is missing, are refused before anything is done", async () => {
  await using vault = await aKubernetesVault();
  for (const data of [{ role: "api", jwt: "a".repeat(17_000) }, { role: "api" }, { jwt: "x" }]) {
    await expect(vault.login(data)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  }
  await expect(vault.login({ role: "none", jwt: await aToken() })).rejects.toMatchObject({
    message: 'invalid role name "none"',
  });
});

test("roles and configuration are read back as they were written", async () => {
  await using vault = await aKubernetesVault(
    {},
    { kubernetes_host: "https://k8s.example:6443/", token_reviewer_jwt: "secret" },
  );
  expect(await vault.ask("read", "config")).toMatchObject({
    kubernetes_host: "https://k8s.example:6443",
    disable_iss_validation: true,
    token_reviewer_jwt_set: true,
    pem_keys: [pem(rsa.publicKey).trim(), pem(ec.publicKey).trim()],
  });
  await vault.ask("update", "role/api", { token_ttl: 60 });
  expect(await vault.ask("read", "role/api")).toMatchObject({
    alias_name_source: "serviceaccount_uid",
    bound_service_account_names: ["api-*"],
    bound_service_account_namespaces: ["prod", "staging-*"],
    token_policies: ["pki"],
    token_ttl: 60,
  });
  expect(await vault.ask("list", "role")).toEqual({ keys: ["api"] });
});

test.each([
  { name: "nothing to check with", data: {} },
  { name: "a private key", data: { pem_keys: [ec.privateKey.export({ type: "pkcs8", format: "pem" })] } },
  { name: "what is no key", data: { pem_keys: "x" } },
  { name: "an Ed25519 key", data: { pem_keys: pem(generateKeyPairSync("ed25519").publicKey) } },
  { name: "too many keys", data: { pem_keys: Array.from({ length: 17 }, () => pem(ec.publicKey)) } },
  { name: "an address without TLS", data: { kubernetes_host: "http://k8s" } },
  { name: "an address with a password", data: { kubernetes_host: "https://a:b@k8s" } },
  {
    name: "annotations as metadata",
    data: { pem_keys: pem(ec.publicKey), use_annotations_as_alias_metadata: true },
  },
])("a configuration with $name is refused", async ({ data }) => {
  await using vault = await aLoginVault("kubernetes", (clock) => kubernetesLogin({ clock }));
  const error = await failure(vault.ask("update", "config", data));
  expect(["INPUT_INVALID", "UNSUPPORTED"]).toContain(error.code);
  expect(error.message).not.toContain("MIG");
});

test.each([
  { name: "everybody", data: { bound_service_account_names: "*", bound_service_account_namespaces: "*" } },
  { name: "nobody", data: { bound_service_account_names: [] } },
  { name: "a selector", data: { bound_service_account_namespace_selector: "{}" } },
  { name: "an unknown alias", data: { alias_name_source: "pod" } },
])("a role for $name is refused", async ({ data }) => {
  await using vault = await aKubernetesVault();
  const error = await failure(vault.ask("update", "role/api", data));
  expect(["INPUT_INVALID", "UNSUPPORTED"]).toContain(error.code);
});

test("a token is renewed as long as its role allows the account", async () => {
  await using vault = await aKubernetesVault();
  const { client_token: token } = await vault.login({ role: "api", jwt: await aToken() });
  const renew = (): Promise<unknown> => vault.vault.write(token, "auth/token/renew-self", {});
  await renew();
  await vault.ask("update", "role/api", { bound_service_account_names: "web" });
  await expect(renew()).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  await vault.ask("delete", "role/api");
  await expect(renew()).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
});

async function failure(promise: Promise<unknown>): Promise<Error & { readonly code?: string }> {
  try {
    await promise;
  } catch (reason) {
    return reason as Error;
  }
  throw new TypeError("it did not fail");
}
