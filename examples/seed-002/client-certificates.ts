/**
 * Seed 002: a service with a Kubernetes account gets client certificates for its tenants from a vault in this process,
 * and gives them back. Every call has the same path and fields over HTTP; examples/vault-clients/hvac/service-account.py
 * makes them from Python.
 *
 *     node client-certificates.js
 */
import "reflect-metadata";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { X509Crl } from "@peculiar/x509";
import {
  IssueCertificateResponse,
  memoryStorage,
  openVault,
  type IssueCertificateRequest,
  type RoleRequest,
} from "@rk8s/control-plane";

const MOUNT = "pki_client_certs";
const ROLE = "openkcm-client-cert-role";

// 1. What an administrator does: a vault, a root, a role for client certificates, and who may ask for them.
await using storage = memoryStorage();
await using vault = await openVault({ storage });
const { shares, rootToken } = await vault.init({ shares: 1, threshold: 1 });
await vault.unseal(shares[0]!);
await vault.write(rootToken, `sys/mounts/${MOUNT}`, { type: "pki", config: { max_lease_ttl: "87600h" } });
await vault.write(rootToken, `${MOUNT}/root/generate/internal`, {
  common_name: "keystore root",
  ttl: "87600h",
});
const role: RoleRequest = {
  allowed_domains: ["keystore.internal", "internal"],
  allow_subdomains: true,
  server_flag: false,
  client_flag: true,
  key_type: "any",
  max_ttl: "8760h",
};
await vault.write(rootToken, `${MOUNT}/roles/${ROLE}`, { ...role });
await vault.write(rootToken, "sys/policies/acl/cmk", {
  policy: `path "${MOUNT}/roles/${ROLE}" { capabilities = ["read"] }
path "${MOUNT}/issue/${ROLE}" { capabilities = ["update"] }
path "${MOUNT}/revoke" { capabilities = ["update"] }`,
});
const account = aServiceAccount("openkcm-system", "cmk-api-server");
await vault.write(rootToken, "sys/auth/kubernetes", { type: "kubernetes" });
await vault.write(rootToken, "auth/kubernetes/config", {
  kubernetes_host: "https://kubernetes.default.svc",
  pem_keys: [account.publicKey],
});
await vault.write(rootToken, "auth/kubernetes/role/cmk-api-server-role", {
  bound_service_account_names: ["cmk-api-server"],
  bound_service_account_namespaces: ["openkcm-system"],
  token_policies: ["cmk"],
  token_ttl: "1h",
});

// 2. The service logs in with the token that its pod has. A login needs no other token.
const login = await vault.handle({
  operation: "update",
  path: "auth/kubernetes/login",
  data: { role: "cmk-api-server-role", jwt: account.jwt },
});
const token = login!.auth!.client_token;
console.log(`logged in with the policies ${login!.auth!.policies.join(", ")}`);

// 3. It looks whether its role is as it needs it.
const described = await vault.read(token, `${MOUNT}/roles/${ROLE}`);
console.log(`the role is for clients: ${String(described!.data!["client_flag"])}`);

// 4. A certificate for a tenant's keystore, with its key.
const request: IssueCertificateRequest = {
  common_name: "tenant-acme-thales.keystore.internal",
  alt_names: ["tenant-acme.internal"],
  key_type: "ec",
  key_bits: 256,
  ttl: "4380h",
};
const issued = new IssueCertificateResponse(
  (await vault.write(token, `${MOUNT}/issue/${ROLE}`, { ...request }))?.data ?? {},
);
console.log(issued.certificate);
console.log(`chain length: ${issued.toCerts().length}`);

// 5. It is given back, and from then on the revocation list, which anybody may read, has it.
await vault.write(token, `${MOUNT}/revoke`, { serial_number: issued.serial_number });
const crl = await vault.handle({ operation: "read", path: `${MOUNT}/cert/crl` });
const entry = new X509Crl(String(crl!.data!["certificate"])).findRevoked(
  issued.serial_number.replaceAll(":", ""),
);
console.log(`the revocation list has it: ${entry !== null}`);

/** What Kubernetes gives a pod, and the key that it signs with. */
function aServiceAccount(
  namespace: string,
  name: string,
): { readonly jwt: string; readonly publicKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
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
  const header = { alg: "RS256", typ: "JWT", kid: createHash("sha256").update(pem).digest("base64url") };
  const parts = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"));
  const signature = sign("sha256", Buffer.from(parts.join(".")), privateKey).toString("base64url");
  return { jwt: [...parts, signature].join("."), publicKey: pem };
}
