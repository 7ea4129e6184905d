import { createPrivateKey, X509Certificate } from "node:crypto";
import { memoryStorage, type Storage } from "@rk8s/storage";
import {
  encodeAuthorityInfoAccess,
  encodeBasicConstraints,
  encodeExtendedKeyUsage,
  encodeKeyUsage,
  OID,
  parseCertificate,
  parseCertificatePolicies,
} from "@rk8s/x509";
import { expect, test } from "vitest";
import type { JsonObject } from "../../vault/backend.js";
import { askBackend } from "../../vault/testing/ask-backend.js";
import { pkiBackend } from "../pki-backend.js";
import { createSerialNumber } from "../serial-number.js";
import { aCsr, aKey } from "../testing/a-csr.js";
import { aPki, TEST_NOW_MS, TEST_PREFIX, type TestPki } from "../testing/a-pki-backend.js";
import { IssueCertificateResponse } from "./issue-response.js";

const RSA_TIMEOUT_MS = 30_000;
const key = aKey("ec");

async function aPkiWithRole(role: object = {}, root: object = {}): Promise<TestPki> {
  const pki = await aPki();
  await pki.write("root/generate/internal", {
    common_name: "Root",
    key_type: "ec",
    issuer_name: "root",
    ttl: "87600h",
    ...root,
  });
  await pki.write("roles/web", { key_type: "ec", allow_any_name: true, ...role });
  return pki;
}

function leafOf(data: JsonObject): ReturnType<typeof parseCertificate> {
  return parseCertificate(new IssueCertificateResponse(data).toCerts()[0] ?? new Uint8Array());
}

test.each([
  { format: "pem", form: undefined, begins: "-----BEGIN EC PRIVATE KEY-----" },
  { format: "pem", form: "pem", begins: "-----BEGIN EC PRIVATE KEY-----" },
  { format: "pem", form: "pkcs8", begins: "-----BEGIN PRIVATE KEY-----" },
  { format: "pem_bundle", form: "der", begins: "-----BEGIN EC PRIVATE KEY-----" },
  { format: "der", form: "der", begins: "M" },
  { format: "der", form: "pkcs8", begins: "M" },
])("the key of format $format and form $form is the certificate's", async ({ format, form, begins }) => {
  for (const type of ["ec", "ed25519"] as const) {
    const { write } = await aPkiWithRole({ key_type: type });
    const data = await write("issue/web", { common_name: "a.test", format, private_key_format: form });
    const response = new IssueCertificateResponse(data);
    const expected = type === "ed25519" ? begins.replace("EC PRIVATE", "PRIVATE") : begins;
    expect(response.private_key?.startsWith(expected)).toBe(true);
    expect(response.private_key_type).toBe(type);
    const { certificateChain, privateKey } = response.toCredentials();
    expect(certificateChain).toHaveLength(2);
    const der = Buffer.from(privateKey);
    const leaf = new X509Certificate(certificateChain[0] ?? "");
    expect(leaf.checkPrivateKey(createPrivateKey({ key: der, format: "der", type: "pkcs8" }))).toBe(true);
    const blocks = response.certificate.match(/-----BEGIN [A-Z ]+-----/g) ?? [];
    expect(blocks).toHaveLength({ pem: 1, pem_bundle: 3, der: 0 }[format] ?? -1);
  }
});

test.each([224, 256, 384, 521])(
  "every P-%i key that is made is whole, its scalar's leading zeros too",
  async (bits) => {
    const { write } = await aPkiWithRole({ key_bits: bits, no_store: true });
    for (let count = 0; count < 40; count++) {
      const form = count % 2 === 0 ? "pkcs8" : "der";
      const data = await write("issue/web", { common_name: "a.test", private_key_format: form });
      const leaf = new X509Certificate(String(data["certificate"]));
      expect(leaf.checkPrivateKey(createPrivateKey(String(data["private_key"])))).toBe(true);
    }
  },
);

test("the answer has Vault's fields and types", async () => {
  const { write, ask } = await aPkiWithRole();
  const answer = await ask("update", "issue/web", { common_name: "a.test", ttl: "1h" });
  expect(answer).not.toHaveProperty("lease");
  expect(answer?.data).toEqual({
    certificate: expect.stringMatching(
      /^-----BEGIN CERTIFICATE-----[^]+-----END CERTIFICATE-----$/,
    ) as string,
    issuing_ca: expect.stringMatching(/^-----BEGIN CERTIFICATE-----/) as string,
    ca_chain: [expect.stringMatching(/^-----BEGIN CERTIFICATE-----/)],
    serial_number: expect.stringMatching(/^([0-9a-f]{2}:){19}[0-9a-f]{2}$/) as string,
    not_before: TEST_NOW_MS / 1000 - 30,
    expiration: TEST_NOW_MS / 1000 + 3600,
    private_key: expect.any(String) as string,
    private_key_type: "ec",
  });
  const signed = await write("sign/web", { csr: aCsr({ key, commonName: "a.test" }) });
  expect(Object.keys(signed)).toEqual(
    Object.keys(answer?.data ?? {}).filter((name) => !name.startsWith("private_key")),
  );
  const bare = await write("issue/web", { common_name: "a.test", remove_roots_from_chain: "true" });
  expect(bare["ca_chain"]).toEqual([]);
});

test("cert-manager's request, all of it text, is signed", async () => {
  const { ask } = await aPkiWithRole({ require_cn: false, allowed_uri_sans: "spiffe://*" });
  const csr = aCsr({
    key,
    names: { dnsNames: ["a.test"], uris: ["spiffe://x/y"], ipAddresses: ["10.0.0.1"] },
  });
  const answer = await ask("update", "sign/web", {
    common_name: "",
    alt_names: "a.test",
    ip_sans: "10.0.0.1",
    uri_sans: "spiffe://x/y",
    ttl: "2160h0m0s",
    csr,
    exclude_cn_from_sans: "true",
  });
  const leaf = leafOf(answer?.data ?? {});
  expect(leaf).toMatchObject({ dnsNames: ["a.test"], uris: ["spiffe://x/y"], ipAddresses: ["10.0.0.1"] });
  expect(leaf.notAfter).toBe(TEST_NOW_MS + 2160 * 3_600_000);
  expect(answer?.warnings).toEqual([]);
});

test("a role of any key type makes the key that the request names, others say that they do not", async () => {
  const { ask, write } = await aPkiWithRole({ key_type: "any" });
  const made = await write("issue/web", { common_name: "a.test", key_type: "ec", key_bits: "384" });
  expect(leafOf(made).publicKey).toMatchObject({ algorithm: "ec", bits: 384 });
  for (const request of [
    {},
    { key_type: "dsa" },
    { key_type: "ec", key_bits: 2048 },
    { key_type: "rsa", key_bits: 1024 },
  ]) {
    await expect(ask("update", "issue/web", { common_name: "a.test", ...request })).rejects.toMatchObject({
      code: "INPUT_INVALID",
    });
  }
  await write("roles/web", { key_type: "ec", allow_any_name: true });
  const answer = await ask("update", "issue/web", { common_name: "a.test", key_type: "rsa", key_bits: 2048 });
  expect(leafOf(answer?.data ?? {}).publicKey.algorithm).toBe("ec");
  expect(answer?.warnings).toEqual(["parameters key_type and key_bits ignored as role had specific values"]);
});

test("what a role adds is in the certificate: policies, CA:FALSE, subject, key identifier", async () => {
  const { write } = await aPkiWithRole({
    policy_identifiers: ["1.3.6.1.4.1.7.8", { oid: "1.2.3", cps: "https://x.test/cps" }],
    basic_constraints_valid_for_non_ca: true,
    organization: "Shop, Shop",
    country: "DE",
    allowed_serial_numbers: "*",
    allowed_user_ids: "*",
    allowed_other_sans: "*",
    key_usage: "",
    server_flag: false,
    client_flag: false,
    ext_key_usage: "OCSPSigning",
  });
  const leaf = leafOf(
    await write("issue/web", {
      common_name: "a.test",
      serial_number: "SN-7",
      user_ids: ["carol"],
      other_sans: "1.3.6.1.4.1.311.20.2.3;UTF8:carol@shop.test",
      skid: "01:02:03:0A",
    }),
  );
  expect(leaf.subject.rdns.flat().map(({ value }) => value)).toEqual([
    "DE",
    "Shop",
    "a.test",
    "SN-7",
    "carol",
  ]);
  expect(leaf).toMatchObject({
    isCa: false,
    keyUsage: undefined,
    extendedKeyUsage: [OID.ocspSigning],
    utf8OtherNames: [{ type: "1.3.6.1.4.1.311.20.2.3", value: "carol@shop.test" }],
    subjectKeyId: Uint8Array.of(1, 2, 3, 10),
  });
  expect(parseCertificatePolicies(leaf.extensions)).toEqual([
    { oid: "1.3.6.1.4.1.7.8" },
    { oid: "1.2.3", cps: "https://x.test/cps" },
  ]);
});

test("an issuer is chosen by the path, else by the role", async () => {
  const { write, ask } = await aPkiWithRole();
  await write("root/rotate/internal", {
    common_name: "Root 2",
    key_type: "ec",
    issuer_name: "second",
    ttl: "87600h",
  });
  const issuer = (data: JsonObject) => new X509Certificate(String(data["certificate"])).issuer;
  expect(issuer(await write("issue/web", { common_name: "a.test" }))).toBe("CN=Root");
  expect(issuer(await write("issuer/second/issue/web", { common_name: "a.test" }))).toBe("CN=Root 2");
  const csr = aCsr({ key, commonName: "a.test" });
  expect(issuer(await write("issuer/second/sign/web", { csr }))).toBe("CN=Root 2");
  expect(issuer(await write("issuer/second/sign-verbatim", { csr }))).toBe("CN=Root 2");
  expect(issuer(await write("issuer/second/sign-verbatim/web", { csr }))).toBe("CN=Root 2");
  await write("roles/web", { key_type: "ec", allow_any_name: true, issuer_ref: "second" });
  expect(issuer(await write("issue/web", { common_name: "a.test" }))).toBe("CN=Root 2");
  expect(issuer(await write("sign-verbatim/web", { csr }))).toBe("CN=Root 2");
  expect(issuer(await write("issuer/root/issue/web", { common_name: "a.test" }))).toBe("CN=Root");
  await expect(ask("update", "issuer/third/issue/web", { common_name: "a.test" })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test(
  "an RSA issuer signs with the role's hash and padding",
  async () => {
    const { write } = await aPkiWithRole(
      { key_type: "any", signature_bits: 384, use_pss: true },
      { key_type: "rsa" },
    );
    const csr = aCsr({ key, commonName: "a.test" });
    expect(leafOf(await write("sign/web", { csr })).signatureAlgorithm.rsaPss).toBe("rsa-pss-sha384");
    const verbatim = await write("sign-verbatim", { csr, signature_bits: 512 });
    expect(leafOf(verbatim).signatureAlgorithm.name).toBe("rsa-sha512");
  },
  RSA_TIMEOUT_MS,
);

test("a lease is kept only where the role says so", async () => {
  const { write, ask } = await aPkiWithRole({ generate_lease: true, ttl: "1h" });
  const answer = await ask("update", "issue/web", { common_name: "a.test" });
  expect(answer?.lease).toEqual({
    ttlSeconds: 3600,
    maxTtlSeconds: 3600,
    renewable: false,
    internal: { serial_number: answer?.data?.["serial_number"] },
  });
  await write("roles/web", { key_type: "ec", allow_any_name: true, generate_lease: true, no_store: true });
  expect(await ask("update", "issue/web", { common_name: "a.test" })).not.toHaveProperty("lease");
});

test("a CSR's wishes that the role does not grant are named, those that it grants are not", async () => {
  const { ask } = await aPkiWithRole();
  const sign = async (init: Partial<Parameters<typeof aCsr>[0]>) =>
    (await ask("update", "sign/web", { csr: aCsr({ key, commonName: "a.test", ...init }) }))?.warnings;
  const modest = [encodeKeyUsage(["digitalSignature"]), encodeExtendedKeyUsage([OID.serverAuth])];
  expect(await sign({ extensions: modest })).toEqual([]);
  const greedy = [
    encodeKeyUsage(["digitalSignature", "keyCertSign"]),
    encodeExtendedKeyUsage([OID.codeSigning]),
    encodeBasicConstraints({ isCa: true, pathLength: undefined }),
    encodeAuthorityInfoAccess({ ocsp: ["http://x.test"] }),
  ];
  const attributes = [{ type: OID.organizationName, value: "Shop" }];
  expect(await sign({ extensions: greedy, attributes })).toEqual([
    expect.stringContaining(`subject attributes ${OID.organizationName} `),
    expect.stringContaining("key usages keyCertSign "),
    expect.stringContaining(`extended key usages ${OID.codeSigning} `),
    expect.stringContaining("CA:TRUE"),
    expect.stringContaining(`extensions ${OID.authorityInfoAccess} `),
  ]);
});

test("sign-verbatim signs what the CSR says, but never an authority", async () => {
  const { ask, write } = await aPkiWithRole({ allow_any_name: false, ttl: "1h", no_store: true });
  const attributes = [
    { type: OID.organizationName, value: "Elsewhere" },
    { type: OID.userId, value: "carol" },
  ];
  const csr = aCsr({
    key,
    commonName: "anything at all",
    attributes,
    names: {
      dnsNames: ["*.elsewhere.test"],
      emails: ["x@y.test"],
      utf8OtherNames: [{ type: "1.2.3", value: "v" }],
    },
    extensions: [
      encodeBasicConstraints({ isCa: true, pathLength: 3 }),
      encodeKeyUsage(["keyAgreement"]),
      encodeExtendedKeyUsage([OID.codeSigning]),
      encodeAuthorityInfoAccess({ ocsp: ["http://evil.test"] }),
    ],
  });
  const answer = await ask("update", "sign-verbatim/web", {
    csr,
    common_name: "b.test",
    key_usage: "CRLSign",
  });
  const leaf = leafOf(answer?.data ?? {});
  expect(leaf).toMatchObject({
    isCa: false,
    keyUsage: ["keyAgreement"],
    extendedKeyUsage: [OID.codeSigning],
    dnsNames: ["*.elsewhere.test"],
    emails: ["x@y.test"],
    utf8OtherNames: [{ type: "1.2.3", value: "v" }],
    notAfter: TEST_NOW_MS + 3_600_000,
  });
  expect(leaf.subject.rdns.flat().map(({ value }) => value)).toEqual([
    "Elsewhere",
    "carol",
    "anything at all",
  ]);
  expect(leaf.extensions.some(({ oid }) => oid === OID.authorityInfoAccess)).toBe(false);
  expect(answer?.warnings).toEqual([
    expect.stringContaining("common_name"),
    expect.stringContaining("basicConstraints"),
    expect.stringContaining("authorityInfoAccess"),
  ]);
  await expect(ask("read", `cert/${String(answer?.data?.["serial_number"])}`)).resolves.toBeUndefined();
  const plain = leafOf(
    await write("sign-verbatim", {
      csr: aCsr({ key, commonName: "a.test", names: { dnsNames: ["a.test"] } }),
      key_usage: "DigitalSignature",
      ext_key_usage: "ServerAuth",
      ext_key_usage_oids: "1.2.3.4",
      other_sans: "1.2.3;UTF8:w",
    }),
  );
  expect(plain).toMatchObject({
    keyUsage: ["digitalSignature"],
    extendedKeyUsage: [OID.serverAuth, "1.2.3.4"],
    dnsNames: ["a.test"],
    utf8OtherNames: [{ type: "1.2.3", value: "w" }],
    notAfter: TEST_NOW_MS + 2_764_800_000,
  });
});

test("P-224 is signed where a role names it or takes any key, and nowhere else", async () => {
  const { ask, write } = await aPkiWithRole({ key_bits: 224 });
  const p224 = aKey("ec", 224);
  const csr = aCsr({ key: p224, commonName: "a.test" });
  const signed = await write("sign/web", { csr });
  expect(new X509Certificate(String(signed["certificate"])).checkPrivateKey(p224.privateKey)).toBe(true);
  await expect(write("sign-verbatim", { csr })).resolves.toHaveProperty("certificate");
  await write("roles/web", { key_type: "ec", allow_any_name: true });
  await expect(ask("update", "sign/web", { csr })).rejects.toMatchObject({ code: "ROLE_REFUSED" });
  const forged = aCsr({ key: { publicKey: p224.publicKey, privateKey: aKey("ec", 224).privateKey } });
  await write("roles/web", { key_type: "any", allow_any_name: true });
  await expect(ask("update", "sign/web", { csr: forged })).rejects.toMatchObject({ code: "CSR_INVALID" });
});

/** A PKI whose leaves get these serial numbers in turn. */
async function withSerialNumbers(numbers: Uint8Array[], storage: Storage = memoryStorage()) {
  const clock = { now: () => TEST_NOW_MS, monotonicMs: () => 0, sleep: () => Promise.resolve() };
  const mount = {
    path: "pki/",
    type: "pki",
    accessor: "pki_test",
    options: {},
    storagePrefix: TEST_PREFIX,
    defaultTtlSeconds: 3600,
    maxTtlSeconds: 360_000,
  };
  const ports = { clock, createSerialNumber: () => numbers.shift() ?? createSerialNumber() };
  const backend = await pkiBackend(ports)(mount, storage);
  const write = async (path: string, data: JsonObject) =>
    (await askBackend(backend, "update", path, data))?.data ?? {};
  await write("root/generate/internal", { common_name: "Root", key_type: "ec", ttl: "100h" });
  await write("roles/web", { key_type: "ec", allow_any_name: true });
  return { backend, write, storage };
}

test("of two certificates at once that would have one serial number, one gets another", async () => {
  const taken = createSerialNumber();
  const { write } = await withSerialNumbers([taken, taken.slice()]);
  const issued = await Promise.all([
    write("issue/web", { common_name: "a.test" }),
    write("issue/web", { common_name: "b.test" }),
  ]);
  const serials = issued.map((data) => String(data["serial_number"]));
  expect(new Set(serials).size).toBe(2);
  expect(serials).toContain(Buffer.from(taken).toString("hex").match(/../g)?.join(":"));
});

test("a source of serial numbers that is stuck gives no certificate twice", async () => {
  const taken = createSerialNumber();
  const { write } = await withSerialNumbers(Array.from({ length: 4 }, () => taken.slice()));
  await write("issue/web", { common_name: "a.test" });
  await expect(write("issue/web", { common_name: "b.test" })).rejects.toMatchObject({ code: "CONFLICT" });
  await expect(write("issue/web", { common_name: "c.test" })).resolves.toHaveProperty("certificate");
});

test("where the certificate cannot be kept, nothing is answered", async () => {
  const storage = memoryStorage();
  let isBroken = false;
  const broken: Storage = Object.assign(Object.create(storage) as Storage, {
    get: storage.get.bind(storage),
    list: storage.list.bind(storage),
    transaction: (...args: Parameters<Storage["transaction"]>) =>
      isBroken ? Promise.reject(new Error("disk full")) : storage.transaction(...args),
  });
  const { write } = await withSerialNumbers([], broken);
  isBroken = true;
  await expect(write("issue/web", { common_name: "a.test" })).rejects.toThrow("disk full");
  await expect(write("sign/web", { csr: aCsr({ key, commonName: "a.test" }) })).rejects.toThrow("disk full");
});
