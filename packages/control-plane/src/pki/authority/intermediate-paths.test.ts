import { X509Certificate } from "node:crypto";
import {
  encodeBasicConstraints,
  encodeExtendedKeyUsage,
  encodeKeyUsage,
  OID,
  parseCertificate,
  parseCertificateRequest,
} from "@rk8s/x509";
import { expect, test } from "vitest";
import { aCsr, aKey } from "../testing/a-csr.js";
import { aPki, TEST_NOW_MS, TEST_PREFIX, type TestPki } from "../testing/a-pki-backend.js";
import { hasOpenssl, openssl, verifyChain } from "../testing/openssl.js";

const HOUR_S = 3600;
const RSA_TIMEOUT_MS = 60_000;
const skipped = hasOpenssl ? "" : "SKIPPED (needs openssl): ";
const certificateOf = (pem: unknown) => parseCertificate(new X509Certificate(String(pem)).raw);

async function aRoot(fields: object = {}): Promise<TestPki> {
  const pki = await aPki();
  await pki.write("root/generate/internal", { common_name: "Root", key_type: "ec", ttl: "1000h", ...fields });
  return pki;
}

const caKey = aKey("ec");
const csr = aCsr({ key: caKey, commonName: "Intermediate" });

test.each([
  { name: "P-256", fields: { key_type: "ec" } },
  { name: "P-384", fields: { key_type: "ec", key_bits: 384 } },
  { name: "Ed25519", fields: { key_type: "ed25519" } },
  { name: "RSA with PSS", fields: { use_pss: true } },
])(
  `${skipped}a leaf of an intermediate with $name is accepted by openssl`,
  { timeout: RSA_TIMEOUT_MS, skip: !hasOpenssl },
  async ({ fields }) => {
    const root = await aRoot();
    const below = await aPki();
    const request = { common_name: "Intermediate", key_name: "own", ...fields };
    const generated = await below.write("intermediate/generate/internal", request);
    expect(openssl(["req", "-in", "r.pem", "-verify", "-noout"], { "r.pem": String(generated["csr"]) })).toBe(
      "",
    );
    const signed = await root.write("root/sign-intermediate", {
      csr: generated["csr"],
      common_name: "Intermediate",
      ttl: "500h",
      format: "pem_bundle",
    });
    const imported = await below.ask("update", "intermediate/set-signed", {
      certificate: signed["certificate"],
    });
    expect(imported?.data?.["imported_issuers"]).toHaveLength(2);
    expect(imported?.data).toMatchObject({ imported_keys: [], existing_keys: [], existing_issuers: [] });
    const [issuerId = "", rootId = ""] = (imported?.data?.["imported_issuers"] ?? []) as string[];
    expect(imported?.data?.["mapping"]).toEqual({ [issuerId]: generated["key_id"], [rootId]: "" });
    expect((await below.read("config/issuers"))["default"]).toBe(issuerId);

    await below.write("roles/web", { key_type: "ec", allow_any_name: true });
    const leaf = await below.write("issue/web", { common_name: "a.example", ttl: "1h" });
    expect(leaf["ca_chain"]).toHaveLength(2);
    const [intermediate, top] = leaf["ca_chain"] as string[];
    expect(
      verifyChain({ leaf: leaf["certificate"], root: top, intermediates: [intermediate], atMs: TEST_NOW_MS }),
    ).toContain("OK");
    expect((await below.ask("read", "ca_chain"))?.raw?.body).toBe(`${intermediate}\n${top}`);
  },
);

test("a request carries names and, when told so, basic constraints; an exported key is its own", async () => {
  const pki = await aPki();
  const answer = await pki.write("intermediate/generate/exported", {
    common_name: "ca.example",
    key_type: "ec",
    alt_names: "b.example",
    organization: "Org",
    add_basic_constraints: true,
    format: "der",
  });
  const request = parseCertificateRequest(Buffer.from(String(answer["csr"]), "base64"));
  expect(request.requested).toMatchObject({ isCa: true, dnsNames: ["b.example", "ca.example"] });
  expect(answer["private_key_type"]).toBe("ec");
  const bundle = await pki.write("intermediate/generate/exported", { key_type: "ec", format: "pem_bundle" });
  expect(bundle["csr"]).toContain(String(bundle["private_key"]));
});

test("a cross-signed root leads from the old trust to the new, over one key", async () => {
  const old = await aRoot({ issuer_name: "old" });
  const fresh = await old.write("root/rotate/internal", {
    common_name: "Fresh",
    key_type: "ec",
    key_name: "k2",
  });
  const { csr: request, key_id } = await old.write("intermediate/cross-sign", {
    common_name: "Fresh",
    key_ref: "k2",
  });
  expect(key_id).toBe(fresh["key_id"]);
  const cross = await old.write("issuer/old/sign-intermediate", {
    csr: request,
    common_name: "Fresh",
    ttl: "500h",
  });
  const { imported_issuers } = await old.write("intermediate/set-signed", {
    certificate: cross["certificate"],
  });
  const crossId = (imported_issuers as string[])[0] ?? "";
  await old.write("root/replace");
  await old.write("roles/web", { key_type: "ec", allow_any_name: true });
  const leaf = await old.write("issue/web", { common_name: "a.example", ttl: "1h" });
  const pems = [fresh["certificate"], cross["certificate"], (await old.read("issuer/old"))["certificate"]];
  expect(leaf["ca_chain"]).toEqual(pems);
  expect((await old.read(`issuer/${crossId}`))["ca_chain"]).toEqual([pems[1], pems[2]]);
  if (!hasOpenssl) return;
  const check = { leaf: leaf["certificate"], atMs: TEST_NOW_MS };
  expect(verifyChain({ ...check, root: pems[0] })).toContain("OK");
  expect(verifyChain({ ...check, root: pems[2], intermediates: [pems[1]] })).toContain("OK");
});

test("what signs and what is signed are in the answer, the chain beginning with the certificate", async () => {
  const pki = await aRoot();
  const answer = await pki.write("root/sign-intermediate", { csr, common_name: "Below", ttl: "500h" });
  const root = await pki.read("issuer/default");
  expect(answer).toEqual({
    certificate: expect.stringContaining("BEGIN CERTIFICATE") as string,
    issuing_ca: root["certificate"],
    ca_chain: [answer["certificate"], root["certificate"]],
    serial_number: expect.stringMatching(/^[0-9a-f:]{59}$/) as string,
    expiration: TEST_NOW_MS / 1000 + 500 * HOUR_S,
  });
  expect(await pki.read(`cert/${String(answer["serial_number"])}`)).toMatchObject({
    certificate: answer["certificate"],
  });
  const named = await pki.write("issuer/default/sign-intermediate", { csr, ttl: "500h", format: "der" });
  const below = parseCertificate(Buffer.from(String(named["certificate"]), "base64"));
  expect(below).toMatchObject({ isCa: true, keyUsage: ["keyCertSign", "cRLSign"] });
  expect(new X509Certificate(below.der).subject).toBe("CN=Intermediate");
});

test("a request decides nothing about being a CA; use_csr_values takes subject and names from it", async () => {
  const pki = await aRoot();
  const greedy = aCsr({
    key: caKey,
    commonName: "Greedy",
    names: { dnsNames: ["greedy.example"] },
    extensions: [
      encodeBasicConstraints({ isCa: true, pathLength: 200 }),
      encodeKeyUsage(["digitalSignature"]),
      encodeExtendedKeyUsage([OID.clientAuth]),
    ],
  });
  const request = { csr: greedy, ttl: "500h", max_path_length: 0, common_name: "Modest" };
  const plain = certificateOf((await pki.write("root/sign-intermediate", request))["certificate"]);
  expect(plain).toMatchObject({ pathLength: 0, dnsNames: ["Modest"], extendedKeyUsage: undefined });
  expect(new X509Certificate(plain.der).subject).toBe("CN=Modest");
  const taken = await pki.write("root/sign-intermediate", { ...request, use_csr_values: true });
  const verbatim = certificateOf(taken["certificate"]);
  expect(verbatim).toMatchObject({
    pathLength: 0,
    dnsNames: ["greedy.example"],
    keyUsage: ["keyCertSign", "cRLSign"],
    extendedKeyUsage: [OID.clientAuth],
  });
  expect(new X509Certificate(verbatim.der).subject).toBe("CN=Greedy");
});

test.each([
  { issuer: -1, asked: undefined, given: undefined },
  { issuer: -1, asked: 3, given: 3 },
  { issuer: 3, asked: undefined, given: 2 },
  { issuer: 3, asked: -1, given: 2 },
  { issuer: 3, asked: 0, given: 0 },
  { issuer: 3, asked: 2, given: 2 },
  { issuer: 3, asked: 3, given: "INPUT_INVALID" },
  { issuer: 1, asked: undefined, given: 0 },
  { issuer: 0, asked: undefined, given: "INPUT_INVALID" },
  { issuer: 0, asked: 0, given: "INPUT_INVALID" },
])(
  "an issuer of path length $issuer that is asked for $asked gives $given",
  async ({ issuer, asked, given }) => {
    const pki = await aRoot({ max_path_length: issuer });
    const request = { csr, ttl: "500h", ...(asked === undefined ? {} : { max_path_length: asked }) };
    const result = await pki.write("root/sign-intermediate", request).then(
      ({ certificate }) => certificateOf(certificate).pathLength,
      (error: unknown) => (error as { code: string }).code,
    );
    expect(result).toBe(given);
  },
);

test.each([
  { behavior: "err", hours: 1000, warned: true },
  { behavior: "truncate", hours: 1000, warned: true },
  { behavior: "permit", hours: 5000, warned: true },
])("an intermediate that would outlive an issuer with $behavior lives $hours hours", async (row) => {
  const pki = await aRoot();
  await pki.ask("patch", "issuer/default", { leaf_not_after_behavior: row.behavior });
  const answer = await pki.ask("update", "root/sign-intermediate", { csr, ttl: "5000h" });
  expect(answer?.data?.["expiration"]).toBe(TEST_NOW_MS / 1000 + row.hours * HOUR_S);
  expect(answer?.warnings?.some((warning) => warning.includes("issuer"))).toBe(row.warned);
});

test("an issuer that has ended signs nothing any more", async () => {
  const pki = await aRoot();
  pki.clock.nowMs += 1001 * HOUR_S * 1000;
  await expect(pki.ask("update", "root/sign-intermediate", { csr })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test.each([
  { name: "no request", fields: {}, code: "CSR_INVALID" },
  { name: "rubbish", fields: { csr: "rubbish" }, code: "CSR_INVALID" },
  {
    name: "a request with a wrong signature",
    fields: {
      csr: aCsr({ key: { publicKey: aKey("ec").publicKey, privateKey: caKey.privateKey }, commonName: "x" }),
    },
    code: "CSR_INVALID",
  },
  {
    name: "a P-224 key",
    fields: { csr: aCsr({ key: aKey("ec", 224), commonName: "x" }) },
    code: "KEY_TOO_WEAK",
  },
  { name: "an issuer that is not there", fields: { csr, issuer_ref: "nobody" }, code: "INPUT_INVALID" },
])("$name is refused, and nothing is stored", async ({ fields, code }) => {
  const pki = await aRoot();
  const before = (await pki.storage.list("")).entries;
  await expect(pki.ask("update", "root/sign-intermediate", fields)).rejects.toMatchObject({ code });
  expect((await pki.storage.list("")).entries).toEqual(before);
});

test("a self-issued certificate is signed as it is, with another serial number and issuer", async () => {
  const ours = await aRoot();
  const theirs = await aRoot({
    common_name: "Theirs",
    ttl: "400h",
    max_path_length: 3,
    permitted_dns_domains: "example",
  });
  const { certificate } = await theirs.read("issuer/default");
  const answer = await ours.write("root/sign-self-issued", { certificate });
  const [before, after] = [certificateOf(certificate), certificateOf(answer["certificate"])];
  expect(after.subject.der).toEqual(before.subject.der);
  expect(after.issuer.der).toEqual(certificateOf(answer["issuing_ca"]).subject.der);
  expect(after).toMatchObject({ notAfter: before.notAfter, pathLength: 3, isCa: true });
  expect(after.serialNumber).not.toBe(before.serialNumber);
  expect(after.subjectKeyId).toEqual(before.subjectKeyId);
  await theirs.write("roles/web", { key_type: "ec", allow_any_name: true });
  const leaf = await theirs.write("issue/web", { common_name: "a.example", ttl: "1h" });
  if (!hasOpenssl) return;
  const chain = { root: answer["issuing_ca"], intermediates: [answer["certificate"]], atMs: TEST_NOW_MS };
  expect(verifyChain({ leaf: leaf["certificate"], ...chain })).toContain("OK");
});

test("what is not one self-issued CA certificate is not signed", async () => {
  const pki = await aRoot();
  const root = await pki.read("issuer/default");
  const below = await pki.write("root/sign-intermediate", { csr, ttl: "500h" });
  await pki.write("roles/web", { key_type: "ec", allow_any_name: true });
  const leaf = await pki.write("issue/web", { common_name: "a.example", ttl: "1h" });
  const two = `${String(root["certificate"])}\n${String(root["certificate"])}`;
  for (const certificate of [below["certificate"], leaf["certificate"], two, "", "rubbish"]) {
    await expect(pki.ask("update", "root/sign-self-issued", { certificate })).rejects.toMatchObject({
      code: "CERTIFICATE_INVALID",
    });
  }
  const theirs = await aRoot({ key_type: "ed25519" });
  const { certificate } = await theirs.read("issuer/default");
  await expect(
    pki.ask("update", "root/sign-self-issued", {
      certificate,
      require_matching_certificate_algorithms: true,
    }),
  ).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test("a second intermediate with a key that has the name already is refused, and its key is not kept", async () => {
  const pki = await aPki();
  const request = { common_name: "x", key_type: "ec", key_name: "k" };
  await pki.write("intermediate/generate/internal", request);
  await expect(pki.ask("update", "intermediate/generate/internal", request)).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  expect((await pki.storage.list(`${TEST_PREFIX}private-keys/`)).entries).toHaveLength(1);
});
