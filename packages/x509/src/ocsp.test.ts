import { spawnSync } from "node:child_process";
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { RksError } from "@rk8s/protocol";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { assembleCertificate, buildTbsCertificate } from "./certificate.js";
import {
  encodeContextConstructed,
  encodeOctetString,
  encodeOid,
  encodeSequence,
  encodeSmallInteger,
  encodeUnsignedInteger,
  encodeUtf8String,
} from "./der-writer.js";
import {
  encodeBasicConstraints,
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeKeyUsage,
  encodeSubjectKeyIdentifier,
} from "./extension.js";
import { encodeName } from "./name.js";
import { encodeOcspCertId, type OcspHash } from "./ocsp-cert-id.js";
import { encodeOcspRequest, MAX_OCSP_REQUEST_BYTES, parseOcspRequest } from "./ocsp-request.js";
import {
  assembleOcspResponse,
  buildOcspResponseData,
  encodeOcspError,
  type OcspErrorStatus,
  type OcspResponseDataFields,
} from "./ocsp-response.js";
import { OID } from "./oids.js";
import { encodePem } from "./pem.js";
import { subjectPublicKeyBits } from "./public-key.js";
import { encodeSignatureAlgorithm } from "./signature-algorithm.js";

const HASHES = ["sha1", "sha256", "sha384", "sha512"] as const;
const signatureAlgorithm = encodeSignatureAlgorithm("ecdsa-sha256");
const caKeys = generateKeyPairSync("ec", { namedCurve: "P-256" });
const caName = encodeName([{ type: OID.commonName, value: "Some CA" }]);
const caSpki = caKeys.publicKey.export({ type: "spki", format: "der" });
const keyBits = subjectPublicKeyBits(caSpki, { code: "CERTIFICATE_INVALID" });
const keyHash = digest("sha1", keyBits);
/** openssl compares an answer's dates with the clock. */
const now = Date.now();

const folder = mkdtempSync(path.join(tmpdir(), "rk8s-ocsp-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const ca = file(
  "ca.pem",
  encodePem(
    "CERTIFICATE",
    certificateOf(caName, caSpki, caKeys.privateKey, [
      encodeBasicConstraints({ isCa: true, pathLength: undefined }),
      encodeKeyUsage(["keyCertSign", "cRLSign", "digitalSignature"]),
      encodeSubjectKeyIdentifier(keyHash),
    ]),
  ),
);

function digest(algorithm: OcspHash, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash(algorithm).update(bytes).digest());
}

function file(name: string, content: string | Uint8Array): string {
  const at = path.join(folder, name);
  writeFileSync(at, content);
  return at;
}

/** Everything that openssl says, whether it is content or not. */
function openssl(...args: readonly string[]): string {
  const { stdout, stderr } = spawnSync("openssl", args, { encoding: "utf8" });
  return stdout + stderr;
}

function certificateOf(
  subject: Uint8Array,
  spki: Uint8Array,
  key: KeyObject,
  extensions: readonly Uint8Array[],
): Uint8Array {
  const tbs = buildTbsCertificate({
    serialNumber: Uint8Array.of(1),
    signatureAlgorithm,
    issuer: caName,
    notBefore: now - 3_600_000,
    notAfter: now + 3_600_000,
    subject,
    spki,
    extensions,
  });
  return assembleCertificate(tbs, signatureAlgorithm, sign("sha256", tbs, key));
}

function aCertId(hash: OcspHash, serialNumber: Uint8Array): Uint8Array {
  return encodeOcspCertId({
    hash,
    issuerNameHash: digest(hash, caName),
    issuerKeyHash: digest(hash, keyBits),
    serialNumber,
  });
}

function anAnswer(fields: Partial<OcspResponseDataFields>): Uint8Array {
  const data = buildOcspResponseData({
    responderId: { keyHash },
    producedAt: now,
    responses: [],
    ...fields,
  });
  return assembleOcspResponse(data, signatureAlgorithm, sign("sha256", data, caKeys.privateKey));
}

test.each(HASHES)("openssl's request with %s is read, certificates, issuer and nonce", (hash) => {
  const out = path.join(folder, `${hash}.req`);
  const serials = ["-serial", "0x0a", "-serial", "0xa1b2c3d4e5f60718"];
  openssl("ocsp", "-issuer", ca, `-${hash}`, ...serials, "-reqout", out);
  const request = parseOcspRequest(readFileSync(out));
  expect(request.certIds.map((certId) => certId.serialNumber)).toEqual(["0a", "a1b2c3d4e5f60718"]);
  for (const certId of request.certIds) {
    expect(certId.issuerNameHash).toEqual(Buffer.from(digest(hash, caName)));
    expect(certId.issuerKeyHash).toEqual(Buffer.from(digest(hash, keyBits)));
    expect(certId.hash).toBe(hash);
  }
  expect(request.nonce?.length).toBe(16);
  expect(request.unknownCriticalExtensions).toEqual([]);
  const certIds = [aCertId(hash, Uint8Array.of(10)), aCertId(hash, Buffer.from("a1b2c3d4e5f60718", "hex"))];
  expect(encodeOcspRequest({ certIds, nonce: request.nonce })).toEqual(new Uint8Array(readFileSync(out)));
});

test("a signed request of openssl with the requestor's name is read", () => {
  const out = path.join(folder, "signed.req");
  const key = file("signer.key", caKeys.privateKey.export({ type: "pkcs8", format: "pem" }));
  openssl("ocsp", "-issuer", ca, "-serial", "7", "-signer", ca, "-signkey", key, "-no_nonce", "-reqout", out);
  const request = parseOcspRequest(readFileSync(out));
  expect(request.certIds.map(({ serialNumber }) => serialNumber)).toEqual(["07"]);
  expect(request.nonce).toBeUndefined();
});

test.each(HASHES)("openssl accepts an answer about certificates named with %s", (hash) => {
  const thisUpdate = now - 60_000;
  const revoked = { status: "revoked", revocationTimeMs: Date.UTC(2026, 0, 2, 3, 4, 5, 999) } as const;
  const answer = anAnswer({
    responses: [
      { certId: aCertId(hash, Uint8Array.of(10)), status: "good", thisUpdate, nextUpdate: now + 60_000 },
      { certId: aCertId(hash, Uint8Array.of(11)), ...revoked, reason: "keyCompromise", thisUpdate },
      { certId: aCertId(hash, Uint8Array.of(12)), ...revoked, thisUpdate },
      { certId: aCertId(hash, Uint8Array.of(13)), ...revoked, reason: "unspecified", thisUpdate },
      { certId: aCertId(hash, Uint8Array.of(14)), status: "unknown", thisUpdate },
    ],
  });
  const response = file(`${hash}.resp`, answer);
  const serials = [10, 11, 12, 13, 14].flatMap((serial) => ["-serial", String(serial)]);
  const check = ["-CAfile", ca, "-no_nonce", "-respin", response];
  const text = openssl("ocsp", "-issuer", ca, `-${hash}`, ...serials, ...check).replaceAll(/\s+/g, " ");
  expect(text).toContain("Response verify OK");
  const updates = /(This|Next) Update: \w+ \d+ [\d:]+ \d+ GMT/g;
  expect(text.replaceAll(updates, "$1")).toContain(
    [
      "10: good This Next",
      "11: revoked This Reason: keyCompromise Revocation Time: Jan 2 03:04:05 2026 GMT",
      "12: revoked This Revocation Time: Jan 2 03:04:05 2026 GMT",
      "13: revoked This Revocation Time: Jan 2 03:04:05 2026 GMT",
      "14: unknown This",
    ].join(" "),
  );
});

test("openssl finds its nonce again, and the responder by name", () => {
  const out = path.join(folder, "nonce.req");
  openssl("ocsp", "-issuer", ca, "-serial", "9", "-reqout", out);
  const { certIds, nonce } = parseOcspRequest(readFileSync(out));
  const [{ der: certId } = { der: caName }] = certIds;
  const responses = [{ certId, status: "good", thisUpdate: now }] as const;
  const responderId = { name: caName };
  const check = (answer: Uint8Array): string => {
    const respin = file("nonce.resp", answer);
    return openssl("ocsp", "-reqin", out, "-issuer", ca, "-CAfile", ca, "-respin", respin, "-resp_text");
  };
  const text = check(anAnswer({ responderId, responses, nonce }));
  expect(text).toContain("Response verify OK");
  expect(text).toContain("Responder Id: CN = Some CA");
  expect(text).not.toContain("WARNING");
  expect(check(anAnswer({ responderId, responses }))).toContain("WARNING: no nonce in response");
  expect(check(anAnswer({ responderId, responses, nonce: Uint8Array.of(1) }))).toContain(
    "Nonce Verify error",
  );
});

test("openssl accepts a delegated responder whose certificate comes with the answer", () => {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const spki = publicKey.export({ type: "spki", format: "der" });
  const subject = encodeName([{ type: OID.commonName, value: "responder" }]);
  const usage = encodeExtendedKeyUsage([OID.ocspSigning]);
  const certificate = certificateOf(subject, spki, caKeys.privateKey, [usage]);
  const data = buildOcspResponseData({
    responderId: { keyHash: digest("sha1", subjectPublicKeyBits(spki, { code: "CERTIFICATE_INVALID" })) },
    producedAt: now,
    responses: [{ certId: aCertId("sha1", Uint8Array.of(5)), status: "good", thisUpdate: now }],
  });
  const algorithm = encodeSignatureAlgorithm("ed25519");
  const answer = assembleOcspResponse(data, algorithm, sign(null, data, privateKey), [certificate]);
  const respin = file("delegated.resp", answer);
  const text = openssl("ocsp", "-issuer", ca, "-serial", "5", "-CAfile", ca, "-no_nonce", "-respin", respin);
  expect(text).toContain("Response verify OK");
  expect(text).toContain("5: good");
});

test.each<{ status: OcspErrorStatus; shown: string; der: string }>([
  { status: "malformedRequest", shown: "malformedrequest (1)", der: "30030a0101" },
  { status: "internalError", shown: "internalerror (2)", der: "30030a0102" },
  { status: "tryLater", shown: "trylater (3)", der: "30030a0103" },
  { status: "sigRequired", shown: "sigrequired (5)", der: "30030a0105" },
  { status: "unauthorized", shown: "unauthorized (6)", der: "30030a0106" },
])("openssl reads the error $status", ({ status, shown, der }) => {
  expect(Buffer.from(encodeOcspError(status)).toString("hex")).toBe(der);
  const respin = file("error.resp", encodeOcspError(status));
  expect(openssl("ocsp", "-respin", respin, "-noverify")).toContain(`Responder Error: ${shown}`);
});

test("a request that was encoded is read back", () => {
  const serial = fc.uint8Array({ minLength: 1, maxLength: 20 });
  const question = fc.tuple(fc.constantFrom(...HASHES), serial);
  const questions = fc.array(question, { minLength: 1, maxLength: 100 });
  const nonces = fc.option(fc.uint8Array({ minLength: 1, maxLength: 128 }), { nil: undefined });
  fc.assert(
    fc.property(questions, nonces, (asked, nonce) => {
      const certIds = asked.map(([hash, serialNumber]) => aCertId(hash, serialNumber));
      const request = parseOcspRequest(encodeOcspRequest({ certIds, nonce }));
      expect(request.nonce).toEqual(nonce);
      expect(request.certIds.map(({ der }) => der)).toEqual(certIds);
      for (const [i, [hash, serialNumber]] of asked.entries()) {
        const wanted = Buffer.from(serialNumber)
          .toString("hex")
          .replace(/^(?:00)+(?=..)/, "");
        expect(request.certIds[i]).toMatchObject({ hash, serialNumber: wanted });
      }
    }),
    { numRuns: 50 },
  );
});

test("the largest request there may be is below the limit of bytes", () => {
  const certIds = Array.from({ length: 100 }, () => aCertId("sha512", new Uint8Array(20).fill(0x7f)));
  const der = encodeOcspRequest({ certIds, nonce: new Uint8Array(128) });
  expect(der.length).toBeLessThan(MAX_OCSP_REQUEST_BYTES);
  expect(parseOcspRequest(der).certIds.length).toBe(100);
});

test("a hash that is not known is told apart, not refused", () => {
  const algorithm = encodeSequence(encodeOid("2.16.840.1.101.3.4.2.4"));
  const hash = encodeOctetString(new Uint8Array(28));
  const certId = encodeSequence(algorithm, hash, hash, encodeSmallInteger(5));
  const [read] = parseOcspRequest(encodeOcspRequest({ certIds: [certId] })).certIds;
  expect(read).toMatchObject({ hash: undefined, serialNumber: "05" });
  const answer = anAnswer({ responses: [{ certId, status: "unknown", thisUpdate: now }] });
  const text = openssl("ocsp", "-respin", file("sha224.resp", answer), "-noverify", "-resp_text");
  expect(text).toContain("Hash Algorithm: sha224");
  expect(text).toContain("Cert Status: unknown");
});

test("critical extensions that nobody knows are named, others are read over", () => {
  const critical = encodeExtension({ oid: "1.2.3.4", critical: true, value: Uint8Array.of(5, 0) });
  const other = encodeExtension({ oid: "1.2.3.5", critical: false, value: Uint8Array.of(5, 0) });
  const certId = aCertId("sha1", Uint8Array.of(1));
  const question = encodeSequence(certId, encodeContextConstructed(0, encodeSequence(critical, other)));
  const extensions = encodeContextConstructed(2, encodeSequence(other, critical));
  const request = encodeSequence(encodeSequence(encodeSequence(question), extensions));
  expect(parseOcspRequest(request).unknownCriticalExtensions).toEqual(["1.2.3.4", "1.2.3.4"]);
});

const question = encodeSequence(aCertId("sha1", Uint8Array.of(1)));
const nonceOf = (value: Uint8Array): Uint8Array =>
  encodeContextConstructed(
    2,
    encodeSequence(encodeExtension({ oid: OID.ocspNonce, critical: false, value })),
  );
const certIdOf = (hashBytes: number, serial: Uint8Array): Uint8Array => {
  const hash = encodeOctetString(new Uint8Array(hashBytes));
  return encodeSequence(encodeSequence(encodeSequence(encodeOid(OID.sha1)), hash, hash, serial));
};

test.each([
  { name: "nothing", tbs: [] },
  { name: "no question", tbs: [encodeSequence()] },
  { name: "101 questions", tbs: [encodeSequence(...Array.from({ length: 101 }, () => question))] },
  { name: "an empty nonce", tbs: [encodeSequence(question), nonceOf(encodeOctetString(new Uint8Array()))] },
  {
    name: "a nonce too long",
    tbs: [encodeSequence(question), nonceOf(encodeOctetString(new Uint8Array(129)))],
  },
  { name: "a nonce of text", tbs: [encodeSequence(question), nonceOf(encodeUtf8String("x"))] },
  { name: "a nonce without its wrapping", tbs: [encodeSequence(question), nonceOf(new Uint8Array(16))] },
  { name: "version 2", tbs: [encodeContextConstructed(0, encodeSmallInteger(1)), encodeSequence(question)] },
  { name: "a hash of 19 bytes", tbs: [encodeSequence(certIdOf(19, encodeSmallInteger(1)))] },
  { name: "a negative serial", tbs: [encodeSequence(certIdOf(20, Uint8Array.of(2, 1, 0x80)))] },
  {
    name: "a serial of 65 bytes",
    tbs: [encodeSequence(certIdOf(20, encodeUnsignedInteger(new Uint8Array(65).fill(1))))],
  },
])("a request with $name is refused", ({ tbs }) => {
  expect(codeOf(() => parseOcspRequest(encodeSequence(encodeSequence(...tbs))))).toBe("OCSP_INVALID");
});

test("every cut-off request is refused, one with a byte more, and one above the limit", () => {
  const der = encodeOcspRequest({ certIds: [aCertId("sha256", Uint8Array.of(9))], nonce: new Uint8Array(8) });
  for (let length = 0; length < der.length; length++)
    expect(codeOf(() => parseOcspRequest(der.subarray(0, length)))).toBe("OCSP_INVALID");
  expect(codeOf(() => parseOcspRequest(Uint8Array.of(...der, 0)))).toBe("OCSP_INVALID");
  expect(codeOf(() => parseOcspRequest(new Uint8Array(MAX_OCSP_REQUEST_BYTES + 1)))).toBe("OCSP_INVALID");
});

test("any bytes and any mutation either parse or throw OCSP_INVALID", () => {
  const der = encodeOcspRequest({ certIds: [aCertId("sha256", Uint8Array.of(9))], nonce: new Uint8Array(8) });
  const change = fc.tuple(fc.nat(der.length - 1), fc.integer({ min: 0, max: 255 }));
  const mutated = fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) => {
    const copy = der.slice();
    for (const [i, byte] of changes) copy[i] = byte;
    return copy;
  });
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (bytes) => {
      expect(codeOf(() => parseOcspRequest(bytes))).toMatch(/^(parsed|OCSP_INVALID)$/);
    }),
    { numRuns: 2000 },
  );
});

test.each([
  { name: "an answer about nothing", run: () => anAnswer({}) },
  {
    name: "a responder's key hash of 32 bytes",
    run: () => anAnswer({ responderId: { keyHash: new Uint8Array(32) }, responses: [aGoodOne()] }),
  },
  { name: "an empty nonce", run: () => anAnswer({ nonce: new Uint8Array(), responses: [aGoodOne()] }) },
  { name: "no date", run: () => anAnswer({ producedAt: Number.NaN, responses: [aGoodOne()] }) },
  { name: "a request about nothing", run: () => encodeOcspRequest({ certIds: [] }) },
])("$name cannot be built", ({ run }) => {
  expect(run).toThrow(TypeError);
});

function aGoodOne(): OcspResponseDataFields["responses"][number] {
  return { certId: aCertId("sha1", Uint8Array.of(1)), status: "good", thisUpdate: now };
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return "parsed";
  } catch (error) {
    return error instanceof RksError ? error.code : String(error);
  }
}
