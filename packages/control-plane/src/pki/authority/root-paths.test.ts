import { createPrivateKey, X509Certificate } from "node:crypto";
import { parseCertificate, parseNameConstraints } from "@rk8s/x509";
import { expect, test } from "vitest";
import { CrashingStorage, everyCrash } from "../../vault/testing/crashing-storage.js";
import { aPki, TEST_NOW_MS, TEST_PREFIX, type TestPki } from "../testing/a-pki-backend.js";
import { certificateText, hasOpenssl, verifyChain } from "../testing/openssl.js";

/** RSA keys take a while to make, more so on a busy machine. */
const RSA_TIMEOUT_MS = 60_000;
const skipped = hasOpenssl ? "" : "SKIPPED (needs openssl): ";
const EC = { common_name: "Root", key_type: "ec" };

const der = (pem: unknown) => new X509Certificate(String(pem)).raw;
const certificateOf = (pem: unknown) => parseCertificate(der(pem));
const issuersOf = async (pki: TestPki) => (await pki.ask("list", "issuers"))?.data?.["keys"] ?? [];

test("a root answers with everything that a client looks for, and is the default", async () => {
  const pki = await aPki();
  const answer = await pki.ask("update", "root/generate/internal", {
    ...EC,
    ttl: "8760h",
    issuer_name: "first",
    key_name: "first-key",
  });
  expect(answer?.data).toEqual({
    certificate: expect.stringMatching(
      /^-----BEGIN CERTIFICATE-----[^]*-----END CERTIFICATE-----$/,
    ) as string,
    issuing_ca: answer?.data?.["certificate"],
    serial_number: expect.stringMatching(/^[0-9a-f]{2}(:[0-9a-f]{2}){19}$/) as string,
    expiration: TEST_NOW_MS / 1000 + 8760 * 3600,
    issuer_id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    issuer_name: "first",
    key_id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    key_name: "first-key",
  });
  expect(answer?.warnings).toEqual([expect.stringContaining("config/urls")]);
  expect(await pki.read("config/issuers")).toEqual({
    default: answer?.data?.["issuer_id"],
    default_follows_latest_issuer: false,
  });
  expect(await pki.read("config/keys")).toEqual({ default: answer?.data?.["key_id"] });
  expect(await pki.read(`cert/${String(answer?.data?.["serial_number"])}`)).toMatchObject({
    certificate: answer?.data?.["certificate"],
  });
});

test("what a request says about the root is in it", async () => {
  const pki = await aPki();
  const { certificate } = await pki.write("root/generate/internal", {
    ...EC,
    common_name: "root.example",
    alt_names: "alt.example,admin@example.org",
    ip_sans: "10.0.0.1",
    uri_sans: "https://ca.example/",
    other_sans: "1.3.6.1.4.1.311.20.2.3;UTF8:ca@example.org",
    organization: "One,Two",
    ou: ["Unit"],
    country: "DE",
    serial_number: "CA-7",
    max_path_length: 2,
    permitted_dns_domains: ["example", ".internal"],
    excluded_dns_domains: "bad.example",
    permitted_ip_ranges: "10.0.0.0/8",
    not_before_duration: "1h",
    not_after: "2040-01-31T12:00:00Z",
  });
  const root = certificateOf(certificate);
  expect(root).toMatchObject({
    isCa: true,
    pathLength: 2,
    keyUsage: ["keyCertSign", "cRLSign"],
    dnsNames: ["alt.example", "root.example"],
    emails: ["admin@example.org"],
    ipAddresses: ["10.0.0.1"],
    uris: ["https://ca.example/"],
    utf8OtherNames: [{ type: "1.3.6.1.4.1.311.20.2.3", value: "ca@example.org" }],
    notBefore: TEST_NOW_MS - 3_600_000,
    notAfter: Date.UTC(2040, 0, 31, 12),
  });
  expect(new X509Certificate(String(certificate)).subject).toBe(
    "C=DE\nO=One\nO=Two\nOU=Unit\nCN=root.example\nserialNumber=CA-7",
  );
  expect(parseNameConstraints(root.extensions)).toMatchObject({
    permitted: { dnsDomains: ["example", ".internal"], ipRanges: ["10.0.0.0/8"] },
    excluded: { dnsDomains: ["bad.example"] },
  });
});

test.each([
  { name: "P-256", fields: { key_type: "ec" }, algorithm: "ecdsa-with-SHA256" },
  { name: "P-384", fields: { key_type: "ec", key_bits: 384 }, algorithm: "ecdsa-with-SHA384" },
  { name: "P-521", fields: { key_type: "ec", key_bits: 521 }, algorithm: "ecdsa-with-SHA512" },
  { name: "Ed25519", fields: { key_type: "ed25519" }, algorithm: "ED25519" },
  { name: "RSA by default", fields: {}, algorithm: "sha256WithRSAEncryption" },
  { name: "RSA, SHA-384", fields: { signature_bits: 384 }, algorithm: "sha384WithRSAEncryption" },
  { name: "RSA-PSS", fields: { use_pss: true, signature_bits: 512 }, algorithm: "rsassaPss" },
])(
  `${skipped}openssl accepts a root with $name and a leaf of it`,
  { timeout: RSA_TIMEOUT_MS, skip: !hasOpenssl },
  async ({ fields, algorithm }) => {
    const pki = await aPki();
    const { certificate } = await pki.write("root/generate/internal", {
      common_name: "Root",
      ttl: "100h",
      ...fields,
    });
    expect(certificateText(certificate)).toContain(`Signature Algorithm: ${algorithm}`);
    await pki.write("roles/web", { key_type: "ec", allow_any_name: true });
    const leaf = await pki.write("issue/web", { common_name: "a.example", ttl: "1h" });
    expect(verifyChain({ leaf: leaf["certificate"], root: certificate, atMs: TEST_NOW_MS })).toContain("OK");
  },
);

test.each([
  { key_type: "ec", private_key_format: "der", header: "BEGIN EC PRIVATE KEY", type: "ec" },
  { key_type: "ec", private_key_format: "pkcs8", header: "BEGIN PRIVATE KEY", type: "ec" },
  { key_type: "ed25519", private_key_format: "der", header: "BEGIN PRIVATE KEY", type: "ed25519" },
])("an exported $key_type key as $private_key_format is the root's own", async (row) => {
  const { key_type, private_key_format, header, type } = row;
  const pki = await aPki();
  const answer = await pki.write("root/generate/exported", { ...EC, key_type, private_key_format });
  expect(answer["private_key"]).toContain(header);
  expect(answer["private_key_type"]).toBe(type);
  const key = createPrivateKey(String(answer["private_key"]));
  expect(new X509Certificate(String(answer["certificate"])).checkPrivateKey(key)).toBe(true);
  const bundled = await pki.write("root/generate/exported", { ...EC, format: "pem_bundle" });
  expect(bundled["certificate"]).toBe(`${String(bundled["private_key"])}\n${String(bundled["issuing_ca"])}`);
});

test("an existing key makes another root, and is not made or exported again", async () => {
  const pki = await aPki();
  const first = await pki.write("root/generate/internal", { ...EC, key_name: "k" });
  const second = await pki.write("root/generate/existing", { common_name: "Second", key_ref: "k" });
  expect(second).toMatchObject({ key_id: first["key_id"], key_name: "k" });
  expect(second).not.toHaveProperty("private_key");
  expect(certificateOf(second["certificate"]).spki).toEqual(certificateOf(first["certificate"]).spki);
  expect(await issuersOf(pki)).toHaveLength(2);
});

test("another name for an existing key is not taken, and the answer says so", async () => {
  const pki = await aPki();
  await pki.write("root/generate/internal", { ...EC, key_name: "k" });
  const request = { common_name: "Second", key_ref: "k", key_name: "other" };
  const answer = await pki.ask("update", "root/generate/existing", request);
  expect(answer?.data?.["key_name"]).toBe("k");
  expect(answer?.warnings).toContain('key_name was ignored: the key is called "k" already');
});

test("a second root leaves the default alone, unless the default follows the latest", async () => {
  const pki = await aPki();
  const first = await pki.write("root/generate/internal", EC);
  await pki.write("root/generate/internal", EC);
  expect((await pki.read("config/issuers"))["default"]).toBe(first["issuer_id"]);
  await pki.write("config/issuers", { default_follows_latest_issuer: true });
  const third = await pki.write("root/generate/internal", EC);
  expect((await pki.read("config/issuers"))["default"]).toBe(third["issuer_id"]);
});

test("a rotated root is called next, and replaces the default when told to", async () => {
  const pki = await aPki();
  await pki.write("root/generate/internal", { ...EC, issuer_name: "first" });
  const next = await pki.write("root/rotate/internal", EC);
  expect(next["issuer_name"]).toBe("next");
  expect((await pki.write("root/rotate/internal", EC))["issuer_name"]).toBe("");
  expect(await pki.write("root/replace")).toMatchObject({ default: next["issuer_id"] });
  expect(await pki.write("root/replace", { default: "first" })).toMatchObject({
    default: (await pki.read("issuer/first"))["issuer_id"],
  });
});

test("deleting the root deletes all issuers and keys, also hundreds of them", async () => {
  const pki = await aPki();
  const { key_id } = await pki.write("root/generate/internal", EC);
  for (let n = 0; n < 140; n++) {
    await pki.write("root/generate/existing", { common_name: `Root ${n}`, key_ref: key_id });
  }
  const answer = await pki.ask("delete", "root");
  expect(answer?.warnings).toHaveLength(1);
  for (const folder of ["issuers/", "keys/", "private-keys/"]) {
    expect((await pki.storage.list(TEST_PREFIX + folder)).entries).toEqual([]);
  }
  expect(await pki.ask("read", "ca/pem")).toMatchObject({ raw: { body: "" } });
  await expect(pki.ask("delete", "root")).resolves.toBeDefined();
});

test.each(everyCrash(3))(
  "deleting hundreds, cut off at $at (written: $written), can be finished",
  async (crash) => {
    const storage = new CrashingStorage();
    const pki = await aPki({ storage });
    const { key_id } = await pki.write("root/generate/internal", EC);
    for (let n = 0; n < 140; n++) {
      await pki.write("root/generate/existing", { common_name: `Root ${n}`, key_ref: key_id });
    }
    storage.plan(crash);
    await Promise.allSettled([pki.ask("delete", "root")]);
    const reopened = await aPki({ storage: storage.disk });
    await reopened.ask("delete", "root");
    for (const folder of ["issuers/", "keys/", "private-keys/"]) {
      expect((await storage.disk.list(TEST_PREFIX + folder)).entries).toEqual([]);
    }
    await expect(reopened.write("root/generate/internal", EC)).resolves.toHaveProperty("issuer_id");
  },
);

test("20 roots made at once are all there, under one default, and after reopening too", async () => {
  const pki = await aPki();
  const made = await Promise.all(
    Array.from({ length: 20 }, (_, n) =>
      pki.write("root/generate/internal", { ...EC, issuer_name: `r${n}` }),
    ),
  );
  expect(new Set(made.map((answer) => answer["issuer_id"])).size).toBe(20);
  const reopened = await aPki({ storage: pki.storage });
  expect(await issuersOf(reopened)).toEqual(await issuersOf(pki));
  expect(await reopened.read("config/issuers")).toEqual(await pki.read("config/issuers"));
  expect((await reopened.read("issuer/r7"))["certificate"]).toBe(made[7]?.["certificate"]);
});

test("of two roots of one name made at once one is kept, and of the other nothing", async () => {
  const pki = await aPki();
  const request = { ...EC, issuer_name: "same" };
  const results = await Promise.allSettled([
    pki.ask("update", "root/generate/internal", request),
    pki.ask("update", "root/generate/internal", request),
  ]);
  expect(results.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  for (const folder of ["issuers/", "keys/", "private-keys/", "certs/"]) {
    expect((await pki.storage.list(TEST_PREFIX + folder)).entries).toHaveLength(1);
  }
});

test("the mount's longest lifetime cuts the root's, with a warning; not_after does not", async () => {
  const pki = await aPki({ mount: { maxTtlSeconds: 3600 } });
  const answer = await pki.ask("update", "root/generate/internal", { ...EC, ttl: "2h" });
  expect(answer?.data?.["expiration"]).toBe(TEST_NOW_MS / 1000 + 3600);
  expect(answer?.warnings?.[0]).toMatch(/^TTL of 7200 seconds is longer than permitted maxTTL/);
  const dated = await pki.write("root/generate/internal", { ...EC, not_after: "9999-12-31T23:59:59Z" });
  expect(certificateOf(dated["certificate"]).notAfter).toBe(Date.UTC(9999, 11, 31, 23, 59, 59));
});

test("a path length of 0 and a missing subject are warned about", async () => {
  const pki = await aPki();
  const answer = await pki.ask("update", "root/generate/internal", { key_type: "ec", max_path_length: 0 });
  expect(answer?.warnings).toEqual([
    expect.stringContaining("no subject") as string,
    expect.stringContaining("config/urls") as string,
    expect.stringContaining("max_path_length") as string,
  ]);
});

test.each<{ name: string; path?: string; fields: object }>([
  { name: "a key of another system", path: "root/generate/kms", fields: {} },
  { name: "a source of keys that is none", path: "root/generate/borrowed", fields: {} },
  { name: "a managed key", fields: { managed_key_name: "hsm" } },
  { name: "a key that is not there", path: "root/generate/existing", fields: { key_ref: "nobody" } },
  { name: "no default key", path: "root/generate/existing", fields: {} },
  { name: "a key type that is none", fields: { key_type: "dsa" } },
  { name: "a key type of any", fields: { key_type: "any" } },
  { name: "RSA-1024", fields: { key_type: "rsa", key_bits: 1024 } },
  { name: "RSA-16384", fields: { key_type: "rsa", key_bits: 16_384 } },
  { name: "EC of 224 bits", fields: { key_bits: 224 } },
  { name: "a hash that is none", fields: { signature_bits: 1 } },
  { name: "a path length of 256", fields: { max_path_length: 256 } },
  { name: "a path length of -2", fields: { max_path_length: -2 } },
  { name: "the name default", fields: { issuer_name: "default" } },
  { name: "the key name default", fields: { key_name: "default" } },
  { name: "a name that looks like an id", fields: { issuer_name: "11111111-2222-3333-4444-555555555555" } },
  { name: "a name with a slash", fields: { issuer_name: "a/b" } },
  { name: "a ttl and an end", fields: { ttl: "1h", not_after: "2040-01-01T00:00:00Z" } },
  { name: "an end in the past", fields: { not_after: "2020-01-01T00:00:00Z" } },
  { name: "an end that is no date", fields: { not_after: "tomorrow" } },
  { name: "a beginning after the end", fields: { ttl: "1h", not_before: "2040-01-01T00:00:00Z" } },
  { name: "a range that is none", fields: { permitted_ip_ranges: "10.0.0.0/33" } },
  { name: "a constraint with a wildcard", fields: { permitted_dns_domains: "*.example" } },
  { name: "a constraint of a dot", fields: { permitted_dns_domains: "." } },
  { name: "a URI for a constraint", fields: { permitted_uri_domains: "http://example/" } },
  { name: "a constraint on no email", fields: { excluded_email_addresses: "@" } },
  { name: "an email address with two @", fields: { alt_names: "a@b@c" } },
  { name: "a URI without scheme", fields: { uri_sans: "example" } },
  { name: "a subject of 17 kB", fields: { organization: ["x".repeat(16_384), "y".repeat(1000)] } },
  { name: "a domain that is not ASCII", fields: { excluded_dns_domains: "bücher" } },
  { name: "an address that is none", fields: { ip_sans: "10.0.0.0/8" } },
  { name: "a name that is none", fields: { alt_names: "a_b.example" } },
  { name: "an other name that is none", fields: { other_sans: "1.2.3;BLOB:x" } },
  { name: "a subject with NUL", fields: { common_name: "a\u0000b" } },
  { name: "251 names", fields: { alt_names: Array.from({ length: 251 }, (_, n) => `n${n}.example`) } },
  { name: "a format that is none", fields: { format: "jks" } },
])("$name is refused, and nothing is stored", async ({ path = "root/generate/internal", fields }) => {
  const pki = await aPki();
  const request = { ...EC, ...fields };
  await expect(pki.ask("update", path, request)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  expect((await pki.storage.list("")).entries).toEqual([]);
});

test("a name that an issuer or key has is refused to the next", async () => {
  const pki = await aPki();
  await pki.write("root/generate/internal", { ...EC, issuer_name: "a", key_name: "k" });
  for (const clash of [{ issuer_name: "a" }, { key_name: "k" }]) {
    await expect(pki.ask("update", "root/generate/internal", { ...EC, ...clash })).rejects.toMatchObject({
      code: "INPUT_INVALID",
      message: expect.stringContaining("name already in use") as string,
    });
  }
  // An issuer and a key may share a name.
  expect(await pki.write("root/generate/internal", { ...EC, issuer_name: "k", key_name: "a" })).toMatchObject(
    {
      issuer_name: "k",
    },
  );
});

test("deleting the root takes sudo, making one does not", async () => {
  const { backend } = await aPki();
  const access = (path: string, verb: "update" | "delete") =>
    backend.paths.match(path)?.entry.operations[verb]?.access;
  expect(access("root", "delete")).toBe("sudo");
  expect(access("root/sign-self-issued", "update")).toBe("sudo");
  expect(access("issuer/default/sign-self-issued", "update")).toBe("sudo");
  expect(access("root/generate/internal", "update")).toBe("token");
});
