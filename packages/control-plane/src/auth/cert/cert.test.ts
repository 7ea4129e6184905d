import { encodeExtension, encodeNameConstraints, encodeUtf8String, OID } from "@rk8s/x509";
import fc from "fast-check";
import { expect, test } from "vitest";

import type { JsonObject } from "../../vault/backend.js";
import type { VaultAuth } from "../../vault/request.js";
import { aCertificate, aCrl, type TestCertificate } from "../testing/certificates.js";
import { aLoginVault, type LoginVault } from "../testing/login-vault.js";
import { certLogin } from "./cert-backend.js";

const root = aCertificate({ commonName: "root" });
const sub = aCertificate({ commonName: "sub", issuer: root, isCa: true });
const client = aCertificate({ commonName: "worker-1", issuer: sub });
const NO_ROLE = { message: "invalid certificate or no client certificate supplied" };

async function aCertVault(role: JsonObject = {}): Promise<LoginVault> {
  const vault = await aLoginVault("cert", (clock) => certLogin({ clock }));
  await vault.ask("update", "certs/nodes", { certificate: root.pem, token_policies: "node", ...role });
  return vault;
}

function connect(
  vault: LoginVault,
  chain: readonly (TestCertificate | Uint8Array)[],
  name?: string,
): Promise<VaultAuth> {
  const clientCertificates = chain.map((one) => (one instanceof Uint8Array ? one : one.der));
  return vault.login(name === undefined ? {} : { name }, { clientCertificates });
}

test("a client whose certificate a trusted CA issued logs in", async () => {
  await using vault = await aCertVault({ token_ttl: 300 });
  const auth = await connect(vault, [client, sub]);
  expect(auth).toMatchObject({ policies: ["default", "node"], lease_duration: 300 });
  expect(auth.metadata).toMatchObject({ cert_name: "nodes", common_name: "worker-1" });
  expect(auth.metadata?.["subject_key_id"]).toMatch(/^([0-9a-f]{2}:){19}[0-9a-f]{2}$/);
  expect(auth.metadata?.["serial_number"]).toMatch(/^\d+$/);
  await connect(vault, [client, sub, root], "nodes");
});

test("without a certificate, without its intermediate, and by another role nobody logs in", async () => {
  await using vault = await aCertVault();
  const missing = { code: "INPUT_INVALID", message: "client certificate must be supplied" };
  await expect(vault.login({})).rejects.toMatchObject(missing);
  await expect(connect(vault, [])).rejects.toMatchObject(missing);
  await expect(connect(vault, [client])).rejects.toMatchObject(NO_ROLE);
  await expect(connect(vault, [client, sub], "other")).rejects.toMatchObject(NO_ROLE);
});

test("a certificate that a role names itself logs in, and one like it does not", async () => {
  const own = aCertificate({ commonName: "own", keyUsage: [], isCa: true });
  await using vault = await aCertVault({ certificate: own.pem });
  await connect(vault, [own]);
  const same = aCertificate({ commonName: "own", keyUsage: [], isCa: true });
  await expect(connect(vault, [same])).rejects.toMatchObject({ code: "INPUT_INVALID" });
  const again = aCertificate({ commonName: "own", keyUsage: [], isCa: true, key: own.key });
  await expect(connect(vault, [again])).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test("an intermediate CA can be what is trusted", async () => {
  await using vault = await aCertVault({ certificate: sub.pem });
  expect(await connect(vault, [client])).toMatchObject({ token_type: "service" });
});

const expired = { notAfter: Date.UTC(2026, 0, 1) };
const tight = aCertificate({ commonName: "tight", pathLength: 0 });
const server = { extendedKeyUsage: [OID.serverAuth] };
const constrained = encodeNameConstraints({ permitted: { dnsDomains: ["example.org"] } });
const strange = encodeExtension({ oid: "1.2.3.4", critical: true, value: encodeUtf8String("x") });
const caBy = (issuer: TestCertificate, more = {}): TestCertificate =>
  aCertificate({ commonName: "sub", issuer, isCa: true, ...more });
const by = (issuer: TestCertificate, more = {}): TestCertificate =>
  aCertificate({ commonName: "c", issuer, ...more });

const expiredSub = caBy(root, expired);
const noCaSub = aCertificate({
  commonName: "sub",
  issuer: root,
  keyUsage: ["digitalSignature", "keyCertSign"],
});
const noSignSub = caBy(root, { keyUsage: ["cRLSign"] });
const serverSub = caBy(root, server);
const strangeSub = caBy(root, { extensions: [strange] });
const constrainedSub = caBy(root, { extensions: [constrained] });
const tightSub = caBy(tight);
const impostor = aCertificate({ commonName: "root" });
const impostorSub = caBy(impostor);

test.each([
  { name: "an expired leaf", chain: [by(sub, expired), sub] },
  { name: "a leaf to come", chain: [by(sub, { notBefore: Date.UTC(2030, 0, 1) }), sub] },
  { name: "a leaf for servers", chain: [by(sub, server), sub] },
  { name: "a leaf for nothing in particular", chain: [by(sub, { extendedKeyUsage: [] }), sub] },
  { name: "a leaf whose key may not sign", chain: [by(sub, { keyUsage: ["keyAgreement"] }), sub] },
  { name: "a CA as leaf", chain: [caBy(root, { extendedKeyUsage: [OID.clientAuth] }), root] },
  { name: "a leaf with an unknown critical extension", chain: [by(sub, { extensions: [strange] }), sub] },
  { name: "an expired CA between", chain: [by(expiredSub), expiredSub] },
  { name: "a client as CA", chain: [by(client), client, sub] },
  { name: "no CA that may sign certificates", chain: [by(noCaSub), noCaSub] },
  { name: "a CA that may not sign certificates", chain: [by(noSignSub), noSignSub] },
  { name: "a CA for servers", chain: [by(serverSub), serverSub] },
  { name: "a CA with an unknown critical extension", chain: [by(strangeSub), strangeSub] },
  { name: "a CA with constrained names", chain: [by(constrainedSub), constrainedSub] },
  { name: "a path that is too long", chain: [by(tightSub), tightSub, tight] },
  { name: "a root of the same name", chain: [by(impostorSub), impostorSub, impostor] },
  { name: "a self-signed leaf", chain: [aCertificate({ commonName: "worker-1" })] },
])("$name does not log in", async ({ chain }) => {
  await using vault = await aCertVault({ certificate: root.pem + tight.pem });
  await expect(connect(vault, chain)).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test("a signature that was changed is found out", async () => {
  await using vault = await aCertVault();
  const changed = Uint8Array.from(client.der);
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  await expect(connect(vault, [changed, sub])).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test("a thousand certificates, and circles of CAs, are refused quickly", async () => {
  await using vault = await aCertVault();
  const many = Array.from({ length: 1000 }, () => client);
  await expect(connect(vault, many)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  const circle = Array.from({ length: 15 }, (_, index) =>
    aCertificate({ commonName: "circle", key: impostor.key, serialNumber: Uint8Array.of(index + 1) }),
  );
  const [first] = circle;
  if (first === undefined) throw new TypeError("there are fifteen");
  const caught = aCertificate({ commonName: "c", issuer: first });
  await expect(connect(vault, [caught, ...circle])).rejects.toMatchObject(NO_ROLE);
});

test("no bytes get in or do harm", async () => {
  await using vault = await aCertVault();
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.tuple(fc.nat(client.der.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, flip]) => {
      const changed = Uint8Array.from(client.der);
      changed[at] = (changed[at] ?? 0) ^ flip;
      return changed;
    }),
  );
  await fc.assert(
    fc.asyncProperty(bytes, async (leaf) => {
      await expect(connect(vault, [leaf, sub])).rejects.toMatchObject({ code: "INPUT_INVALID" });
    }),
    { numRuns: 200 },
  );
});

const named = aCertificate({
  commonName: "web",
  issuer: sub,
  organizationalUnits: ["ops", "dev"],
  dnsNames: ["web.example.org"],
  emails: ["ops@example.org"],
  uris: ["spiffe://rk8s.local/node/web"],
  extensions: [encodeExtension({ oid: "1.2.3.4", critical: false, value: encodeUtf8String("blue-1") })],
});

test.each([
  { field: "allowed_names", fits: "x,web.*", misses: "x" },
  { field: "allowed_names", fits: "ops@*", misses: "spiffe://*" },
  { field: "allowed_common_names", fits: "w*b", misses: "*.example.org" },
  { field: "allowed_dns_sans", fits: "*.example.org", misses: "web" },
  { field: "allowed_email_sans", fits: "*@example.org", misses: "web*" },
  { field: "allowed_uri_sans", fits: "spiffe://rk8s.local/*", misses: "spiffe://other/*" },
  { field: "allowed_organizational_units", fits: "dev", misses: "de" },
  { field: "required_extensions", fits: "1.2.3.4:blue-*", misses: "1.2.3.4:red" },
  {
    field: "required_extensions",
    fits: ["1.2.3.4:*-1", "hex:1.2.3.4:0c06*"],
    misses: ["1.2.3.4:*", "1.2.3.5:*"],
  },
])("$field lets in whom it fits", async ({ field, fits, misses }) => {
  await using vault = await aCertVault({ [field]: fits });
  await connect(vault, [named, sub]);
  await vault.ask("update", "certs/nodes", { [field]: misses });
  await expect(connect(vault, [named, sub])).rejects.toMatchObject(NO_ROLE);
});

test("extensions go into the metadata where a role wants them", async () => {
  await using vault = await aCertVault({
    allowed_metadata_extensions: "1.2.3.4,1.2.3.5",
    display_name: "it",
  });
  expect((await connect(vault, [named, sub])).metadata).toMatchObject({ "1-2-3-4": "blue-1" });
});

test("of several roles the first by name that fits is taken", async () => {
  await using vault = await aCertVault();
  await vault.ask("update", "certs/a", { certificate: root.pem, allowed_names: "other" });
  await vault.ask("update", "certs/b", { certificate: root.pem, token_policies: "b" });
  expect(await connect(vault, [client, sub])).toMatchObject({ policies: ["b", "default"] });
  expect(await connect(vault, [client, sub], "nodes")).toMatchObject({ policies: ["default", "node"] });
  await vault.ask("delete", "certs/b");
  expect(await connect(vault, [client, sub])).toMatchObject({ policies: ["default", "node"] });
});

test("whoever stands in a revocation list of the issuer is refused, leaf or CA", async () => {
  await using vault = await aCertVault();
  await vault.ask("update", "crls/other", { crl: aCrl(impostor, [client]) });
  await connect(vault, [client, sub]);
  await vault.ask("update", "crls/sub", { crl: aCrl(sub, [client]) });
  expect(await vault.ask("list", "crls")).toEqual({ keys: ["other", "sub"] });
  expect(Object.keys(((await vault.ask("read", "crls/sub")) as { serials: object }).serials)).toHaveLength(1);
  await expect(connect(vault, [client, sub])).rejects.toMatchObject(NO_ROLE);
  await connect(vault, [named, sub]);
  await vault.ask("delete", "crls/sub");
  await connect(vault, [client, sub]);
  await vault.ask("update", "crls/root", { crl: aCrl(root, [sub]) });
  await expect(connect(vault, [named, sub])).rejects.toMatchObject(NO_ROLE);
});

test.each([
  { name: "no list", data: { crl: root.pem }, code: "CRL_INVALID" },
  { name: "nothing", data: {}, code: "INPUT_INVALID" },
  { name: "an address", data: { crl: aCrl(root, []), url: "http://x" }, code: "UNSUPPORTED" },
])("a revocation list that is $name is refused", async ({ data, code }) => {
  await using vault = await aCertVault();
  await expect(vault.ask("update", "crls/x", data)).rejects.toMatchObject({ code });
});

test("a renewal checks the certificate of the login again", async () => {
  await using vault = await aCertVault();
  const renewed = async (change: (vault: LoginVault) => Promise<unknown>): Promise<unknown> => {
    const { client_token: token } = await connect(vault, [client, sub], "nodes");
    const renew = (): Promise<unknown> => vault.vault.write(token, "auth/token/renew-self", {});
    await renew();
    await change(vault);
    return renew().catch((reason: unknown) => reason);
  };
  const refused = { code: "PERMISSION_DENIED" };
  expect(await renewed(({ ask }) => ask("update", "crls/sub", { crl: aCrl(sub, [client]) }))).toMatchObject(
    refused,
  );
  await vault.ask("delete", "crls/sub");
  expect(await renewed(({ ask }) => ask("update", "certs/nodes", { allowed_names: "x" }))).toMatchObject(
    refused,
  );
  await vault.ask("update", "certs/nodes", { allowed_names: [] });
  expect(await renewed(({ ask }) => ask("delete", "certs/nodes"))).toMatchObject(refused);
});

test("a role is read back as it was written, and settings say what has no effect", async () => {
  await using vault = await aCertVault({ allowed_dns_sans: "a,b" });
  expect(await vault.ask("read", "certs/nodes")).toMatchObject({
    certificate: root.pem,
    allowed_dns_sans: ["a", "b"],
    allowed_names: [],
    token_policies: ["node"],
  });
  expect(await vault.ask("list", "certs")).toEqual({ keys: ["nodes"] });
  const config = { operation: "update", path: "auth/cert/config", clientToken: vault.root } as const;
  const answer = await vault.vault.handle({ ...config, data: { disable_binding: false } });
  expect(answer?.warnings).toHaveLength(1);
});

test.each([
  { name: "no certificate", data: { certificate: "" } },
  { name: "what is no certificate", data: { certificate: "x" } },
  { name: "too many certificates", data: { certificate: root.pem.repeat(17) } },
  { name: "OCSP", data: { certificate: root.pem, ocsp_enabled: true } },
  { name: "an extension without a pattern", data: { certificate: root.pem, required_extensions: "1.2.3" } },
])("a role with $name is refused", async ({ data }) => {
  await using vault = await aCertVault();
  const code = expect.stringMatching(/^(INPUT_INVALID|CERTIFICATE_INVALID|UNSUPPORTED)$/) as string;
  await expect(vault.ask("update", "certs/x", data)).rejects.toMatchObject({ code });
});
