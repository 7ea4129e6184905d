import { execFileSync, spawnSync } from "node:child_process";
import { createPrivateKey, generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryStorage, type Storage } from "@rk8s/storage";
import {
  assembleCertificateRequest,
  buildCertificateRequestInfo,
  encodeExtension,
  encodeName,
  encodePem,
  encodeSignatureAlgorithm,
  encodeSubjectAlternativeName,
  OID,
  parseCertificate,
} from "@rk8s/x509";
import { expect, onTestFinished, test } from "vitest";
import type { Answer, Backend, JsonObject, Operation } from "../vault/backend.js";
import { askBackend } from "../vault/testing/ask-backend.js";
import { pkiBackend } from "./pki-backend.js";
import type { RootGenerateRequest } from "./authority/ca-fields.js";
import { IssueCertificateResponse } from "./issuance/issue-response.js";
import type { IssueCertificateRequest } from "./requests.js";

const now = Date.UTC(2026, 5, 1, 12);
const clock = { now: () => now, monotonicMs: () => 0, sleep: () => Promise.resolve() };
const mount = {
  path: "pki/",
  type: "pki",
  accessor: "pki_test",
  options: {},
  storagePrefix: "logical/1/",
  defaultTtlSeconds: 2_764_800,
  maxTtlSeconds: 31_536_000,
};

/** RSA keys take a while to make, more so on a busy machine. */
const RSA_TIMEOUT_MS = 30_000;

type AskedOperation = Exclude<Operation, "help">;

interface Fixture {
  readonly backend: Backend;
  readonly barrier: Storage;
  readonly call: (operation: AskedOperation, path: string, data?: object) => Promise<Answer | undefined>;
  readonly data: (operation: AskedOperation, path: string, data?: object) => Promise<JsonObject>;
}

async function aBackend(barrier: Storage = memoryStorage()): Promise<Fixture> {
  const backend = await pkiBackend({ clock })(mount, barrier);
  const call = (operation: AskedOperation, path: string, data: object = {}) =>
    askBackend(backend, operation, path, data as JsonObject);
  return { backend, barrier, call, data: async (...args) => (await call(...args))?.data ?? {} };
}

async function aBackendWithRole(role: JsonObject): Promise<Fixture> {
  const fixture = await aBackend();
  await fixture.call("update", "root/generate/internal", {
    common_name: "Test Root",
    ttl: "8760h",
    key_type: "ec",
  });
  await fixture.call("update", "roles/web", { key_type: "ec", ...role });
  return fixture;
}

const key = generateKeyPairSync("ec", { namedCurve: "P-256" });

function aCsr(
  cn: string,
  names: Parameters<typeof encodeSubjectAlternativeName>[0] | undefined,
  pair = key,
): string {
  const tbs = buildCertificateRequestInfo({
    subject: encodeName([{ type: OID.commonName, value: cn }]),
    spki: pair.publicKey.export({ type: "spki", format: "der" }),
    extensions:
      names === undefined
        ? []
        : [
            encodeExtension({
              oid: OID.subjectAltName,
              critical: false,
              value: encodeSubjectAlternativeName(names),
            }),
          ],
  });
  const der = assembleCertificateRequest(
    tbs,
    encodeSignatureAlgorithm("ecdsa-sha256"),
    sign("sha256", tbs, pair.privateKey),
  );
  return encodePem("CERTIFICATE REQUEST", der);
}

test("the first sample of a vault session works: root, role, certificate, chain", async () => {
  const { call, data } = await aBackend();
  const root: RootGenerateRequest = { common_name: "rk8s Demo Root CA", ttl: "8760h", key_type: "ec" };
  expect(await data("update", "root/generate/internal", root)).not.toHaveProperty("private_key");
  await call("create", "roles/rk8s-nodes", {
    allowed_domains: "svc.rk8s.local",
    allow_subdomains: true,
    allow_any_name: false,
    allow_short_names: true,
    server_flag: true,
    client_flag: true,
    ttl: "24h",
    max_ttl: "720h",
    no_store: true,
    key_type: "ec",
  });
  const request: IssueCertificateRequest = {
    common_name: "node-01.svc.rk8s.local",
    alt_names: "node-01.svc.rk8s.local,node-01",
    ip_sans: "10.40.0.10",
    ttl: "12h",
  };
  const issued = new IssueCertificateResponse(await data("update", "issue/rk8s-nodes", request));
  expect(issued.toCerts()).toHaveLength(2);
  const leaf = parseCertificate(issued.toCerts()[0] ?? new Uint8Array());
  expect(leaf).toMatchObject({
    dnsNames: ["node-01.svc.rk8s.local", "node-01"],
    ipAddresses: ["10.40.0.10"],
    extendedKeyUsage: [OID.serverAuth, OID.clientAuth],
    keyUsage: ["digitalSignature", "keyEncipherment", "keyAgreement"],
    notBefore: now - 30_000,
    notAfter: now + 12 * 3_600_000,
  });
  expect(issued.expiration).toBe((now + 12 * 3_600_000) / 1000);
  expect(issued.serial_number).toBe(leaf.serialNumber.match(/../g)?.join(":"));
  const { privateKey, certificateChain } = issued.toCredentials();
  const node = new X509Certificate(certificateChain[0] ?? "");
  expect(
    node.checkPrivateKey(createPrivateKey({ key: Buffer.from(privateKey), format: "der", type: "pkcs8" })),
  ).toBe(true);
  // no_store: nothing is kept
  await expect(call("read", `cert/${issued.serial_number}`)).resolves.toBeUndefined();
});

test("without allow_short_names the single label is refused and the answer says what would allow it", async () => {
  const { call } = await aBackendWithRole({ allowed_domains: "svc.rk8s.local", allow_subdomains: true });
  const request = { common_name: "node-01.svc.rk8s.local", alt_names: "node-01" };
  await expect(call("update", "issue/web", request)).rejects.toMatchObject({
    code: "ROLE_REFUSED",
    suggestion: expect.stringContaining("allow_short_names=true") as string,
  });
});

test("an issued certificate is stored under its serial number, listed, and there after reopening", async () => {
  const { data, barrier } = await aBackendWithRole({ allow_any_name: true });
  const { serial_number: serial, certificate } = await data("update", "issue/web", {
    common_name: "a.example",
  });
  const reopened = await aBackend(barrier);
  expect(await reopened.data("read", `cert/${String(serial).toUpperCase()}`)).toMatchObject({ certificate });
  expect((await reopened.data("list", "certs/"))["keys"]).toContain(serial);
  const again = new IssueCertificateResponse(
    await reopened.data("update", "issue/web", { common_name: "b.example" }),
  );
  const root = new X509Certificate(again.issuing_ca);
  expect(new X509Certificate(again.certificate).verify(root.publicKey)).toBe(true);
});

test("sign takes the CSR's names by default, checks them all, and refuses to be talked out of it", async () => {
  const { call, data } = await aBackendWithRole({
    allowed_domains: "example",
    allow_subdomains: true,
    allow_ip_sans: false,
  });
  const good = await call("update", "sign/web", {
    csr: aCsr("a.example", { dnsNames: ["b.example"] }),
    alt_names: "evil.test",
  });
  const leaf = parseCertificate(
    new IssueCertificateResponse(good?.data ?? {}).toCerts()[0] ?? new Uint8Array(),
  );
  expect(leaf.dnsNames).toEqual(["a.example", "b.example"]);
  expect(good?.data).not.toHaveProperty("private_key");
  expect(good?.warnings).toEqual([
    'the alt_names field was provided but the role is set with "use_csr_sans" set to true',
  ]);
  for (const names of [
    { dnsNames: ["evil.test"] },
    { ipAddresses: ["10.0.0.1"] },
    { uris: ["spiffe://x/y"] },
    { emails: ["a@evil.test"] },
  ]) {
    await expect(call("update", "sign/web", { csr: aCsr("a.example", names) })).rejects.toMatchObject({
      code: "ROLE_REFUSED",
    });
  }
  await expect(call("update", "sign/web", { csr: aCsr("evil.test", undefined) })).rejects.toMatchObject({
    code: "ROLE_REFUSED",
  });
  await call("update", "roles/own", {
    key_type: "any",
    allowed_domains: "example",
    allow_subdomains: true,
    use_csr_sans: false,
    use_csr_common_name: false,
  });
  const body = { csr: aCsr("evil.test", { dnsNames: ["evil.test"] }), common_name: "c.example" };
  const own = new IssueCertificateResponse(await data("update", "sign/own", body));
  expect(parseCertificate(own.toCerts()[0] ?? new Uint8Array()).dnsNames).toEqual(["c.example"]);
});

test.each<{ name: string; role: JsonObject; pair: () => typeof key; allowed: boolean }>([
  { name: "ec role, ec key", role: { key_type: "ec" }, pair: () => key, allowed: true },
  {
    name: "ec-384 role, ec-256 key",
    role: { key_type: "ec", key_bits: 384 },
    pair: () => key,
    allowed: false,
  },
  { name: "rsa role, ec key", role: { key_type: "rsa" }, pair: () => key, allowed: false },
  { name: "ed25519 role, ec key", role: { key_type: "ed25519" }, pair: () => key, allowed: false },
  { name: "any role, ec key", role: { key_type: "any" }, pair: () => key, allowed: true },
])("$name: signed $allowed", async ({ role, pair, allowed }) => {
  const { call } = await aBackendWithRole({ allow_any_name: true, ...role });
  const result = await call("update", "sign/web", { csr: aCsr("a.example", undefined, pair()) }).then(
    () => "signed",
    (error: unknown) => (error as { code: string }).code,
  );
  expect(result).toBe(allowed ? "signed" : "ROLE_REFUSED");
});

test.each<{ name: string; path: string; data: JsonObject; code: string }>([
  { name: "no common name", path: "issue/web", data: {}, code: "INPUT_INVALID" },
  {
    name: "an unknown role",
    path: "issue/nobody",
    data: { common_name: "a.example" },
    code: "INPUT_INVALID",
  },
  {
    name: "a role name with a slash escaped",
    path: "issue/..%2f",
    data: { common_name: "a.example" },
    code: "INPUT_INVALID",
  },
  {
    name: "a name that is no DNS name",
    path: "issue/web",
    data: { common_name: "a.example", alt_names: "x_y.example" },
    code: "INPUT_INVALID",
  },
  {
    name: "an address that is none",
    path: "issue/web",
    data: { common_name: "a.example", ip_sans: "10.0.0.0/8" },
    code: "INPUT_INVALID",
  },
  {
    name: "a lifetime beyond the root's",
    path: "issue/web",
    data: { common_name: "a.example", ttl: "8761h" },
    code: "INPUT_INVALID",
  },
  {
    name: "a URI",
    path: "issue/web",
    data: { common_name: "a.example", uri_sans: "spiffe://rk8s.local/node/x" },
    code: "ROLE_REFUSED",
  },
  {
    name: "a format that is none",
    path: "issue/web",
    data: { common_name: "a.example", format: "jks" },
    code: "INPUT_INVALID",
  },
  {
    name: "300 names",
    path: "issue/web",
    data: { common_name: "a.example", alt_names: Array.from({ length: 300 }, (_, i) => `n${i}.example`) },
    code: "INPUT_INVALID",
  },
  ...["a.example\u0000.evil", "a.example\nb", "a\u202eelpmaxe", "a\ud800"].map((common_name) => ({
    name: `the common name ${JSON.stringify(common_name)}`,
    path: "issue/free",
    data: { common_name, exclude_cn_from_sans: true },
    code: "INPUT_INVALID",
  })),
  ...[-1, "-1h", "1e3", 1.5, 1e300, "999999h"].map((ttl) => ({
    name: `the lifetime ${ttl}`,
    path: "issue/web",
    data: { common_name: "a.example", ttl },
    code: "INPUT_INVALID",
  })),
  ...["*.*.example", "a.*.example", "**.example", "*", "*.", "*a*.example", "a.example\u0000"].map(
    (name) => ({
      name: `the alternative name ${JSON.stringify(name)}`,
      path: "issue/web",
      data: { common_name: "a.example", alt_names: [name] },
      code: expect.stringMatching(/^(INPUT_INVALID|ROLE_REFUSED)$/) as string,
    }),
  ),
  { name: "no CSR", path: "sign/web", data: { common_name: "a.example" }, code: "CSR_INVALID" },
  {
    name: "a CSR of rubbish",
    path: "sign/web",
    data: { csr: encodePem("CERTIFICATE REQUEST", new Uint8Array(100)) },
    code: "CSR_INVALID",
  },
])("$name is refused with $code and nothing is stored", async ({ path, data, code }) => {
  const { call, barrier } = await aBackendWithRole({ allow_any_name: true, max_ttl: "9000h" });
  await call("update", "roles/free", {
    allow_any_name: true,
    enforce_hostnames: false,
    cn_validations: "disabled",
  });
  const before = (await barrier.list("")).entries;
  await expect(call("update", path, data)).rejects.toMatchObject({ code });
  expect((await barrier.list("")).entries).toEqual(before);
});

test("a lifetime above the role's is cut with a warning, unknown fields are ignored with a warning", async () => {
  const { call } = await aBackendWithRole({ allow_any_name: true, max_ttl: 3600 });
  const answer = await call("update", "issue/web", {
    common_name: "a.example",
    ttl: "2h",
    mount_point: "pki",
  });
  expect(answer?.warnings).toEqual([
    "TTL of 7200 seconds is longer than permitted maxTTL of 3600 seconds, so maxTTL is being used",
    "Endpoint ignored these unrecognized parameters: [mount_point]",
  ]);
  expect(answer?.data?.["expiration"]).toBe(now / 1000 + 3600);
});

test("a certificate backdated by a century begins at the epoch", async () => {
  const { data } = await aBackendWithRole({ allow_any_name: true, not_before_duration: "36500d" });
  const answer = new IssueCertificateResponse(
    await data("update", "issue/web", { common_name: "a.example" }),
  );
  expect(answer.not_before).toBe(0);
});

test("roles are written, read, listed and deleted; a rewrite forgets what it leaves out", async () => {
  const { call, data } = await aBackend();
  await expect(call("list", "roles/")).resolves.toBeUndefined();
  await expect(call("read", "roles/web")).resolves.toBeUndefined();
  expect(await data("create", "roles/web", { allow_any_name: true })).toMatchObject({ allow_any_name: true });
  await call("update", "roles/web", { ttl: "1h" });
  expect(await data("read", "roles/web")).toMatchObject({ allow_any_name: false, ttl: 3600 });
  await expect(call("list", "roles")).resolves.toEqual({ data: { keys: ["web"] } });
  await call("delete", "roles/web");
  await expect(call("read", "roles/web")).resolves.toBeUndefined();
  await expect(call("update", "roles/a b", {})).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test("without a root nothing can be issued and the raw CA is empty; after deleting it a new one can be made", async () => {
  const { call, data, barrier } = await aBackendWithRole({ allow_any_name: true });
  await call("delete", "root");
  await expect(call("update", "issue/web", { common_name: "a.example" })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  expect(await call("read", "ca/pem")).toMatchObject({ raw: { body: "" } });
  for (const folder of ["issuers/", "keys/", "private-keys/"]) {
    expect((await barrier.list(`logical/1/${folder}`)).entries).toEqual([]);
  }
  const exported = await data("update", "root/generate/exported", {
    common_name: "Second",
    key_type: "ec",
    key_bits: 384,
    max_path_length: 0,
  });
  expect(exported["private_key"]).toMatch(/^-----BEGIN EC PRIVATE KEY-----/);
  expect(await call("read", "ca/pem")).toMatchObject({ raw: { body: exported["certificate"] } });
});

test.each([
  {
    format: "pem",
    certificate: /^-----BEGIN CERTIFICATE-----[^]*-----END CERTIFICATE-----$/,
    key: /^-----BEGIN PRIVATE KEY-----/,
  },
  { format: "der", certificate: /^MII[A-Za-z0-9+/=]+$/, key: /^[A-Za-z0-9+/=]+$/ },
  {
    format: "pem_bundle",
    certificate: /^-----BEGIN PRIVATE KEY-----[^]*CERTIFICATE-----\n-----BEGIN CERTIFICATE-----/,
    key: /^-----BEGIN PRIVATE/,
  },
])("format $format", async ({ format, certificate, key: keyPattern }) => {
  const { data } = await aBackendWithRole({ allow_any_name: true });
  const body = { common_name: "a.example", format, private_key_format: "pkcs8" };
  const answer = await data("update", "issue/web", body);
  expect(answer["certificate"]).toMatch(certificate);
  expect(answer["private_key"]).toMatch(keyPattern);
});

test(
  "an RSA role makes RSA keys, as Vault's default is",
  async () => {
    const { data } = await aBackendWithRole({ allow_any_name: true, key_type: "rsa" });
    const answer = await data("update", "issue/web", { common_name: "a.example" });
    expect(answer).toMatchObject({ private_key_type: "rsa" });
    expect(answer["private_key"]).toMatch(/^-----BEGIN RSA PRIVATE KEY-----/);
  },
  RSA_TIMEOUT_MS,
);

test("no answer but issue and an exported root holds a key", async () => {
  const { call, barrier } = await aBackendWithRole({ allow_any_name: true });
  const stored = (await barrier.list("logical/1/private-keys/")).entries[0]?.value ?? new Uint8Array();
  const needle = Buffer.from(stored).toString("base64").slice(60, 120);
  for (const path of [
    "ca",
    "ca/pem",
    "ca_chain",
    "cert/ca",
    "cert/ca_chain",
    "roles/web",
    "issuer/key",
    "cert/issuer/key",
  ]) {
    const text = JSON.stringify((await call("read", path)) ?? {});
    expect(text).not.toContain(needle);
    expect(text).not.toContain("PRIVATE");
  }
});

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;
const skipped = hasOpenssl ? "" : "SKIPPED (needs openssl): ";

test.skipIf(!hasOpenssl).each([
  { name: "P-256", key_type: "ec", key_bits: 256 },
  { name: "P-521", key_type: "ec", key_bits: 521 },
  { name: "Ed25519", key_type: "ed25519", key_bits: 0 },
  { name: "RSA-2048", key_type: "rsa", key_bits: 2048 },
])(
  `${skipped}openssl verify -x509_strict accepts leaves of a root with $name`,
  async ({ key_type, key_bits }) => {
    const { call, data } = await aBackend();
    await call("update", "root/generate/internal", {
      common_name: "Root",
      ttl: "100h",
      key_type,
      key_bits,
      organization: "rk8s, Über",
    });
    await call("update", "roles/web", {
      key_type: "ec",
      allow_any_name: true,
      allowed_uri_sans: "*",
      require_cn: false,
      ou: "a,b",
    });
    const body = { alt_names: "a.example,x@y.example", ip_sans: "::1", uri_sans: "urn:x", ttl: "1h" };
    const issued = new IssueCertificateResponse(await data("update", "issue/web", body));
    const folder = mkdtempSync(join(tmpdir(), "pki-backend-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, "root.pem"), issued.issuing_ca);
    writeFileSync(join(folder, "leaf.pem"), issued.certificate);
    const args = [
      "verify",
      "-x509_strict",
      "-attime",
      String(now / 1000),
      "-purpose",
      "sslserver",
      "-CAfile",
      "root.pem",
      "leaf.pem",
    ];
    expect(execFileSync("openssl", args, { cwd: folder, encoding: "utf8" })).toContain("leaf.pem: OK");
  },
  RSA_TIMEOUT_MS,
);
