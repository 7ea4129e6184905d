import { createPrivateKey, generateKeyPairSync, type KeyObject, sign, X509Certificate } from "node:crypto";
import {
  assembleCertificate,
  buildTbsCertificate,
  encodeBasicConstraints,
  encodeName,
  encodePem,
  encodeSignatureAlgorithm,
  OID,
} from "@rk8s/x509";
import { expect, test } from "vitest";
import { CrashingStorage, everyCrash } from "../../vault/testing/crashing-storage.js";
import { certificatePem } from "../certificate-format.js";
import { selfSign } from "../certificate-authority.js";
import { aPki, TEST_NOW_MS, TEST_PREFIX, type TestPki } from "../testing/a-pki-backend.js";
import { hasOpenssl, openssl } from "../testing/openssl.js";

const RSA_TIMEOUT_MS = 60_000;

interface TestCa {
  readonly certificate: string;
  readonly key: string;
  readonly privateKey: KeyObject;
}

function aCa(name: string, isCa = true): TestCa {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const { der } = selfSign(privateKey, {
    subject: encodeName([{ type: OID.commonName, value: name }]),
    spki: publicKey.export({ type: "spki", format: "der" }),
    notBefore: TEST_NOW_MS,
    notAfter: TEST_NOW_MS + 1e10,
    extensions: [encodeBasicConstraints({ isCa, pathLength: undefined })],
  });
  return { certificate: certificatePem(der), key: pemKey(privateKey), privateKey };
}

function pemKey(key: KeyObject, type: "pkcs8" | "sec1" | "pkcs1" = "pkcs8"): string {
  return String(key.export({ type, format: "pem" }));
}

const lists = (data: Readonly<Record<string, unknown>>) =>
  ["imported_issuers", "imported_keys", "existing_issuers", "existing_keys"].map(
    (name) => (data[name] as string[]).length,
  );
const ca = aCa("CA");
const bundleOf = ({ certificate, key }: TestCa) => `${key}\n${certificate}\n`;

test.each(["config/ca", "issuers/import/bundle"])("%s imports a certificate with its key", async (path) => {
  const pki = await aPki();
  const data = await pki.write(path, { pem_bundle: bundleOf(ca) });
  expect(lists(data)).toEqual([1, 1, 0, 0]);
  const [issuerId = ""] = data["imported_issuers"] as string[];
  expect(data["mapping"]).toEqual({ [issuerId]: (data["imported_keys"] as string[])[0] });
  await pki.write("roles/web", { key_type: "ec", allow_any_name: true });
  const leaf = await pki.write("issue/web", { common_name: "a.example", ttl: "1h" });
  expect(
    new X509Certificate(String(leaf["certificate"])).verify(new X509Certificate(ca.certificate).publicKey),
  ).toBe(true);
  // Again: nothing is new, and nothing is stored twice.
  const stored = (await pki.storage.list(TEST_PREFIX)).entries.length;
  const again = await pki.write(path, { pem_bundle: bundleOf(ca) });
  expect(lists(again)).toEqual([0, 0, 1, 1]);
  expect(again["mapping"]).toEqual(data["mapping"]);
  expect((await pki.storage.list(TEST_PREFIX)).entries).toHaveLength(stored);
});

test("a key that comes after its certificate is found, in either order", async () => {
  const pki = await aPki();
  const { certificate, key } = ca;
  const first = await pki.write("issuers/import/cert", { pem_bundle: certificate });
  const [issuerId = ""] = first["imported_issuers"] as string[];
  expect(first["mapping"]).toEqual({ [issuerId]: "" });
  const { key_id } = await pki.write("keys/import", { pem_bundle: key, key_name: "late" });
  expect(await pki.read(`issuer/${issuerId}`)).toMatchObject({ key_id });
  expect(await pki.read(`key/late`)).toMatchObject({ key_id, key_type: "ec", key_bits: 256 });
});

test("text around the blocks, curve parameters and CRLs are passed over", async () => {
  const pki = await aPki();
  const noise = [
    "subject=CN = CA",
    "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----",
    pemKey(ca.privateKey, "sec1"),
    "some words",
    ca.certificate,
  ].join("\n");
  expect(lists(await pki.write("config/ca", { pem_bundle: noise }))).toEqual([1, 1, 0, 0]);
});

test("a key that is not the certificate's is kept beside it, and the issuer cannot sign", async () => {
  const pki = await aPki();
  const other = aCa("Other");
  const answer = await pki.ask("update", "config/ca", { pem_bundle: `${other.key}\n${ca.certificate}` });
  expect(Object.values(answer?.data?.["mapping"] ?? {})).toEqual([""]);
  expect(answer?.warnings?.join()).toContain("no key here");
  await pki.write("roles/web", { key_type: "ec", allow_any_name: true });
  await expect(pki.ask("update", "issue/web", { common_name: "a.example" })).rejects.toMatchObject({
    code: "INPUT_INVALID",
    message: expect.stringContaining("no key in this mount") as string,
  });
});

test("a key whose public part is another's is refused: its signatures would be worth nothing", async () => {
  const pki = await aPki();
  const victim = ca.privateKey.export({ format: "jwk" });
  const own = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" });
  const forged = createPrivateKey({ key: { ...victim, d: own.d! }, format: "jwk" });
  for (const type of ["pkcs8", "sec1"] as const) {
    const bundle = `${pemKey(forged, type)}\n${ca.certificate}`;
    await expect(pki.ask("update", "config/ca", { pem_bundle: bundle })).rejects.toMatchObject({
      code: "INPUT_INVALID",
    });
  }
  expect((await pki.storage.list("")).entries).toEqual([]);
});

test("of a whole chain the one with its key becomes the default, whatever comes first", async () => {
  const root = await aPki();
  await root.write("root/generate/internal", { common_name: "Root", key_type: "ec", ttl: "9000h" });
  const below = await aPki();
  const { csr, private_key } = await below.write("intermediate/generate/exported", {
    common_name: "Below",
    key_type: "ec",
  });
  const { certificate, issuing_ca } = await root.write("root/sign-intermediate", { csr, ttl: "900h" });
  const fresh = await aPki();
  const data = await fresh.write("config/ca", {
    pem_bundle: [issuing_ca, certificate, private_key].join("\n"),
  });
  expect(lists(data)).toEqual([2, 1, 0, 0]);
  expect((await fresh.read("config/issuers"))["default"]).toBe((data["imported_issuers"] as string[])[1]);
});

test("the default follows an import with one key when it follows the latest, and does not choose between two", async () => {
  const pki = await aPki();
  await pki.write("config/ca", { pem_bundle: bundleOf(ca) });
  await pki.write("config/issuers", { default_follows_latest_issuer: true });
  const one = await pki.write("config/ca", { pem_bundle: bundleOf(aCa("Next")) });
  const { default: followed } = await pki.read("config/issuers");
  expect(followed).toBe((one["imported_issuers"] as string[])[0]);
  const two = await pki.ask("update", "config/ca", {
    pem_bundle: bundleOf(aCa("X")) + bundleOf(aCa("Y")),
  });
  expect(two?.warnings?.[0]).toContain("left as it was");
  expect((await pki.read("config/issuers"))["default"]).toBe(followed);
});

const weak = generateKeyPairSync("ec", { namedCurve: "secp256k1" }).privateKey;
const leaf = aCa("leaf.example", false);

test.each<{ name: string; bundle: () => string; code?: string }>([
  { name: "nothing", bundle: () => "" },
  { name: "a path", bundle: () => "/etc/ssl/ca.pem" },
  { name: "half a block", bundle: () => ca.certificate.slice(0, 200), code: "CERTIFICATE_INVALID" },
  { name: "a leaf", bundle: () => leaf.certificate, code: "CERTIFICATE_INVALID" },
  {
    name: "a certificate of rubbish",
    bundle: () => encodePem("CERTIFICATE", new Uint8Array(300)),
    code: "CERTIFICATE_INVALID",
  },
  { name: "a key of rubbish", bundle: () => encodePem("PRIVATE KEY", new Uint8Array(300)) },
  {
    name: "a good certificate and a leaf",
    bundle: () => ca.certificate + "\n" + leaf.certificate,
    code: "CERTIFICATE_INVALID",
  },
  { name: "a curve that is not ours", bundle: () => pemKey(weak) },
  { name: "an X25519 key", bundle: () => pemKey(generateKeyPairSync("x25519").privateKey) },
  { name: "a request", bundle: () => encodePem("CERTIFICATE REQUEST", new Uint8Array(300)) },
  { name: "41 blocks", bundle: () => `${ca.certificate}\n`.repeat(41) },
  { name: "300 kB", bundle: () => ca.certificate + " ".repeat(300_000) },
  {
    name: "an encrypted PKCS#8 key",
    bundle: () =>
      String(ca.privateKey.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "x" })),
  },
  {
    name: "an encrypted SEC1 key",
    bundle: () =>
      String(ca.privateKey.export({ type: "sec1", format: "pem", cipher: "aes-256-cbc", passphrase: "x" })),
  },
])("$name is refused, nothing of it is kept and no key is quoted", async ({ bundle, code }) => {
  const pki = await aPki();
  const text = bundle();
  const error = await pki.ask("update", "config/ca", { pem_bundle: text }).then(
    () => undefined,
    (reason: unknown) => reason as { code: string; message: string },
  );
  expect(error?.code).toBe(code ?? "INPUT_INVALID");
  expect(JSON.stringify(error)).not.toContain(text.slice(100, 130) || "-----BEGIN");
  expect((await pki.storage.list("")).entries).toEqual([]);
});

test("RSA of 1024 bits is refused, 4096 is taken", { timeout: RSA_TIMEOUT_MS }, async () => {
  const pki = await aPki();
  const [small, large] = [1024, 4096].map((bits) =>
    pemKey(generateKeyPairSync("rsa", { modulusLength: bits }).privateKey, "pkcs1"),
  );
  await expect(pki.ask("update", "keys/import", { pem_bundle: small })).rejects.toMatchObject({
    code: "KEY_TOO_WEAK",
  });
  expect(await pki.write("keys/import", { pem_bundle: large })).toMatchObject({
    key_type: "rsa",
    key_bits: 4096,
  });
});

test("a CA with RSA of 1024 bits is refused also without its key", async () => {
  const pki = await aPki();
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const { der } = selfSign(privateKey, {
    subject: encodeName([{ type: OID.commonName, value: "Old" }]),
    spki: publicKey.export({ type: "spki", format: "der" }),
    notBefore: TEST_NOW_MS,
    notAfter: TEST_NOW_MS + 1e10,
    extensions: [encodeBasicConstraints({ isCa: true, pathLength: undefined })],
  });
  await expect(
    pki.ask("update", "issuers/import/cert", { pem_bundle: certificatePem(der) }),
  ).rejects.toMatchObject({ code: "KEY_TOO_WEAK" });
});

test("keys are refused where only certificates may come", async () => {
  const pki = await aPki();
  const refused = { code: "INPUT_INVALID", message: expect.stringContaining("not allowed") as string };
  await expect(pki.ask("update", "issuers/import/cert", { pem_bundle: bundleOf(ca) })).rejects.toMatchObject(
    refused,
  );
  await expect(
    pki.ask("update", "intermediate/set-signed", { certificate: bundleOf(ca) }),
  ).rejects.toMatchObject(refused);
});

test("keys/import takes one key alone, and says when it was there", async () => {
  const pki = await aPki();
  await pki.write("keys/import", { pem_bundle: ca.key, key_name: "k" });
  const again = await pki.ask("update", "keys/import", { pem_bundle: ca.key, key_name: "other" });
  expect(again).toMatchObject({ data: { key_name: "k" }, warnings: [expect.stringContaining("before")] });
  for (const pem_bundle of [ca.certificate, bundleOf(ca), ca.key + aCa("x").key]) {
    await expect(pki.ask("update", "keys/import", { pem_bundle })).rejects.toMatchObject({
      code: "INPUT_INVALID",
    });
  }
});

test("issuers that signed each other can be imported, and their chains end", async () => {
  const [a, b] = [aCa("A"), aCa("B")];
  const cross = (subject: TestCa, by: TestCa): string => {
    const { raw } = new X509Certificate(subject.certificate);
    const names = { A: subject === a ? "A" : "B", B: by === a ? "A" : "B" };
    const tbs = buildTbsCertificate({
      serialNumber: Uint8Array.of(7),
      signatureAlgorithm: encodeSignatureAlgorithm("ecdsa-sha256"),
      issuer: encodeName([{ type: OID.commonName, value: names.B }]),
      notBefore: TEST_NOW_MS,
      notAfter: TEST_NOW_MS + 1e10,
      subject: encodeName([{ type: OID.commonName, value: names.A }]),
      spki: new X509Certificate(raw).publicKey.export({ type: "spki", format: "der" }),
      extensions: [encodeBasicConstraints({ isCa: true, pathLength: undefined })],
    });
    const signature = sign("sha256", tbs, by.privateKey);
    return certificatePem(assembleCertificate(tbs, encodeSignatureAlgorithm("ecdsa-sha256"), signature));
  };
  const pki = await aPki();
  const pem_bundle = [cross(a, b), cross(b, a), a.key].join("\n");
  const data = await pki.write("config/ca", { pem_bundle });
  expect(lists(data)).toEqual([2, 1, 0, 0]);
  expect((await pki.read("issuer/default"))["ca_chain"]).toHaveLength(2);
  await pki.write("roles/web", { key_type: "ec", allow_any_name: true });
  const issued = await pki.write("issue/web", { common_name: "a.example", ttl: "1h" });
  expect(issued["ca_chain"]).toHaveLength(2);
});

test.each(everyCrash(2))(
  "an import cut off at $at (written: $written) is whole or not there",
  async (crash) => {
    const storage = new CrashingStorage();
    const pki = await aPki({ storage });
    await pki.write("root/generate/internal", { common_name: "Old", key_type: "ec" });
    const count = async (from: TestPki) =>
      ((await from.ask("list", "issuers"))?.data?.["keys"] as string[] | undefined)?.length;
    storage.plan(crash);
    const request = { pem_bundle: bundleOf(ca) + bundleOf(aCa("Second")) };
    const done = await pki.ask("update", "config/ca", request).then(
      () => true,
      () => false,
    );
    // What is in memory is what was answered.
    expect(await count(pki)).toBe(done ? 3 : 1);
    const reopened = await aPki({ storage: storage.disk });
    expect(await count(reopened)).toBe(done || crash.written ? 3 : 1);
    const { key_info: info = {} } = (await reopened.ask("list", "issuers"))?.data ?? {};
    const keyIds = Object.values(info as Record<string, { key_id: string }>).map(({ key_id }) => key_id);
    expect(keyIds).not.toContain("");
  },
);

test.skipIf(!hasOpenssl)("what openssl makes is imported: PKCS#1, SEC1 and PKCS#8 keys", async () => {
  for (const command of [
    ["genrsa", "-traditional", "2048"],
    ["ecparam", "-name", "prime256v1", "-genkey"],
    ["genpkey", "-algorithm", "ed25519"],
  ]) {
    const pki = await aPki();
    const pem_bundle = openssl(command, {});
    expect(await pki.write("keys/import", { pem_bundle })).toHaveProperty("key_id");
  }
});
