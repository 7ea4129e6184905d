// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 needs it to be loaded first
import "reflect-metadata";
import { execFileSync } from "node:child_process";
import { createHash, generateKeyPairSync, sign, verify, webcrypto } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import * as peculiar from "@peculiar/x509";
import { equalBytes, RksError } from "@rk8s/protocol";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { assembleCertificate, buildTbsCertificate } from "./certificate.js";
import {
  type CertificateList,
  findRevoked,
  isRevoked,
  MAX_CRL_BYTES,
  parseCrl,
  revokedCertificates,
} from "./certificate-list.js";
import { assembleCrl, buildTbsCertList, type TbsCertListFields } from "./certificate-list-writer.js";
import {
  encodeContextConstructed,
  encodeContextPrimitive,
  encodeSequence,
  encodeSmallInteger,
} from "./der-writer.js";
import {
  encodeFreshestCrl,
  encodeIssuingDistributionPoint,
  parseFreshestCrl,
} from "./distribution-points.js";
import {
  encodeAuthorityKeyIdentifier,
  encodeBasicConstraints,
  encodeExtension,
  encodeKeyUsage,
  encodeSubjectKeyIdentifier,
} from "./extension.js";
import { encodeName, formatName } from "./name.js";
import { OID } from "./oids.js";
import { decodePem, encodePem } from "./pem.js";
import { subjectPublicKeyBits } from "./public-key.js";
import { REVOCATION_REASONS, type RevocationReason } from "./revocation-reason.js";
import { encodeRevokedCertificate } from "./revoked-certificate.js";
import { encodeSignatureAlgorithm } from "./signature-algorithm.js";

const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const spki = publicKey.export({ type: "spki", format: "der" });
const signatureAlgorithm = encodeSignatureAlgorithm("ecdsa-sha256");
const issuer = encodeName([
  { type: OID.organizationName, value: "rk8s" },
  { type: OID.commonName, value: "Some CA" },
]);
const authorityKeyId = createHash("sha1")
  .update(subjectPublicKeyBits(spki, { code: "CERTIFICATE_INVALID" }))
  .digest();
const thisUpdate = Date.UTC(2026, 0, 2, 3, 4, 5);
const nextUpdate = Date.UTC(2050, 0, 1);
const REASONS = Object.keys(REVOCATION_REASONS) as RevocationReason[];

const ON = Uint8Array.of(0xff);
const NOTHING = new Uint8Array();

const folder = mkdtempSync(path.join(tmpdir(), "rk8s-crl-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function fromHex(digits: string): Uint8Array {
  return Uint8Array.from(Buffer.from(digits, "hex"));
}

function aCrl(fields: Partial<TbsCertListFields> = {}): Uint8Array {
  const tbs = buildTbsCertList({
    signatureAlgorithm,
    issuer,
    thisUpdate,
    nextUpdate,
    crlNumber: 7,
    authorityKeyId,
    entries: [],
    ...fields,
  });
  return assembleCrl(tbs, signatureAlgorithm, sign("sha256", tbs, privateKey));
}

function certificateOf(serialNumber: string, isCa: boolean, hasDelta = false): Uint8Array {
  const tbs = buildTbsCertificate({
    serialNumber: fromHex(serialNumber),
    signatureAlgorithm,
    issuer,
    notBefore: thisUpdate,
    notAfter: nextUpdate,
    subject: isCa ? issuer : encodeName([{ type: OID.commonName, value: "leaf" }]),
    spki,
    extensions: isCa
      ? [
          encodeBasicConstraints({ isCa, pathLength: undefined }),
          encodeKeyUsage(["keyCertSign", "cRLSign"]),
          encodeSubjectKeyIdentifier(authorityKeyId),
        ]
      : [
          encodeAuthorityKeyIdentifier(authorityKeyId),
          ...(hasDelta ? [encodeFreshestCrl(["http://crl.example/delta.crl"])] : []),
        ],
  });
  return assembleCertificate(tbs, signatureAlgorithm, sign("sha256", tbs, privateKey));
}

function file(name: string, content: string | Uint8Array): string {
  const at = path.join(folder, name);
  writeFileSync(at, content);
  return at;
}

function openssl(...args: readonly string[]): string {
  return execFileSync("openssl", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

const entries = [
  encodeRevokedCertificate({ serialNumber: fromHex("0a"), revocationTimeMs: thisUpdate }),
  encodeRevokedCertificate({
    serialNumber: fromHex("a1b2c3d4e5f60718"),
    revocationTimeMs: thisUpdate + 1999,
    reason: "keyCompromise",
  }),
];

test("openssl shows every field of a CRL, and its signature verifies", () => {
  const crl = aCrl({
    entries,
    baseCrlNumber: 3,
    extensions: [
      encodeIssuingDistributionPoint(["http://crl.example/ca.crl"]),
      encodeFreshestCrl(["http://crl.example/delta.crl"]),
    ],
  });
  const text = openssl("crl", "-inform", "DER", "-in", file("shown.crl", crl), "-noout", "-text");
  expect(text.replaceAll(/\s+/g, " ")).toContain(
    [
      "Version 2 (0x1)",
      "Signature Algorithm: ecdsa-with-SHA256",
      "Issuer: O = rk8s, CN = Some CA",
      "Last Update: Jan 2 03:04:05 2026 GMT",
      "Next Update: Jan 1 00:00:00 2050 GMT",
      "CRL extensions:",
      `X509v3 Authority Key Identifier: ${authorityKeyId.toString("hex").toUpperCase().match(/../g)?.join(":")}`,
      "X509v3 CRL Number: 7",
      "X509v3 Delta CRL Indicator: critical 3",
      "X509v3 Issuing Distribution Point: critical Full Name: URI:http://crl.example/ca.crl",
      "X509v3 Freshest CRL: Full Name: URI:http://crl.example/delta.crl",
      "Revoked Certificates:",
      "Serial Number: 0A Revocation Date: Jan 2 03:04:05 2026 GMT",
      "Serial Number: A1B2C3D4E5F60718 Revocation Date: Jan 2 03:04:06 2026 GMT",
      "CRL entry extensions: X509v3 CRL Reason Code: Key Compromise",
    ].join(" "),
  );
});

test("openssl refuses a revoked certificate by the CRL, and takes one that is not revoked", () => {
  const ca = file("ca.pem", encodePem("CERTIFICATE", certificateOf("01", true)));
  const crl = file("ca.crl", encodePem("X509 CRL", aCrl({ entries })));
  const time = String(thisUpdate / 1000 + 60);
  const check = (leaf: string): string =>
    openssl("verify", "-attime", time, "-crl_check", "-CAfile", ca, "-CRLfile", crl, leaf);
  const good = file("good.pem", encodePem("CERTIFICATE", certificateOf("0b", false)));
  expect(check(good)).toContain("good.pem: OK");
  const bad = file("bad.pem", encodePem("CERTIFICATE", certificateOf("a1b2c3d4e5f60718", false)));
  expect(() => check(bad)).toThrow(/certificate revoked/);
});

test("openssl takes a delta CRL on top of the complete one, and a hold that was lifted", () => {
  const ca = file("delta-ca.pem", encodePem("CERTIFICATE", certificateOf("01", true)));
  const entry = (serialNumber: string, reason: RevocationReason): Uint8Array =>
    encodeRevokedCertificate({ serialNumber: fromHex(serialNumber), revocationTimeMs: thisUpdate, reason });
  const complete = aCrl({ entries: entry("0c", "certificateHold") });
  const changes = [entry("0c", "removeFromCRL"), entry("0d", "superseded")];
  const delta = aCrl({ crlNumber: 8, baseCrlNumber: 7, entries: changes });
  const lists = file("delta.crl", encodePem("X509 CRL", complete) + encodePem("X509 CRL", delta));
  const time = String(thisUpdate / 1000 + 60);
  const check = (serialNumber: string): string => {
    const leaf = file("delta-leaf.pem", encodePem("CERTIFICATE", certificateOf(serialNumber, false, true)));
    const options = ["-attime", time, "-crl_check", "-extended_crl", "-use_deltas"];
    return openssl("verify", ...options, "-CAfile", ca, "-CRLfile", lists, leaf);
  };
  expect(check("0c")).toContain("OK");
  expect(() => check("0d")).toThrow(/certificate revoked/);
});

test("@peculiar/x509 reads the CRL and verifies it", async () => {
  peculiar.cryptoProvider.set(webcrypto);
  const other = new peculiar.X509Crl(Buffer.from(aCrl({ entries })));
  expect(other.issuer).toBe("O=rk8s, CN=Some CA");
  expect(other.nextUpdate?.getTime()).toBe(nextUpdate);
  expect(other.entries.map(({ serialNumber, reason }) => [serialNumber, reason])).toEqual([
    ["0a", undefined],
    ["a1b2c3d4e5f60718", peculiar.X509CrlReason.keyCompromise],
  ]);
  const ca = new peculiar.X509Certificate(Buffer.from(certificateOf("01", true)));
  await expect(other.verify({ publicKey: ca })).resolves.toBe(true);
});

test("a CRL of @peculiar/x509 is read", async () => {
  peculiar.cryptoProvider.set(webcrypto);
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const made = await peculiar.X509CrlGenerator.create({
    issuer: "CN=Other CA",
    thisUpdate: new Date(thisUpdate),
    nextUpdate: new Date(nextUpdate),
    signingAlgorithm: algorithm,
    signingKey: keys.privateKey,
    entries: [
      {
        serialNumber: "75",
        revocationDate: new Date(thisUpdate),
        reason: peculiar.X509CrlReason.superseded,
        invalidity: new Date(0),
      },
    ],
  });
  const crl = parseCrl(new Uint8Array(made.rawData));
  expect(formatName(crl.issuer)).toBe("CN=Other CA");
  expect(crl).toMatchObject({ thisUpdate, nextUpdate, crlNumber: undefined, unknownCriticalExtensions: [] });
  expect([...revokedCertificates(crl)]).toEqual([
    { serialNumber: "75", revocationTimeMs: thisUpdate, reason: "superseded" },
  ]);
});

test("openssl's own CRL is read", () => {
  const ca = file("own-ca.pem", encodePem("CERTIFICATE", certificateOf("01", true)));
  const key = file("own-ca.key", privateKey.export({ type: "pkcs8", format: "pem" }));
  const revoked = (why: string, serial: string): string =>
    `R\t491231235959Z\t260102030405Z,${why}\t${serial}\tunknown\t/CN=${serial}\n`;
  const index = file("index.txt", revoked("keyTime,20260101000000Z", "0F") + revoked("superseded", "F00D"));
  const number = file("crlnumber", "0100\n");
  const extensions = "crl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n";
  const config = file(
    "ca.cnf",
    `[ca]\ndefault_ca=c\n[c]\ndatabase=${index}\ncrlnumber=${number}\ndefault_md=sha384\n${extensions}`,
  );
  const make = ["ca", "-config", config, "-gencrl", "-crldays", "30", "-cert", ca, "-keyfile", key];
  const [block] = decodePem(openssl(...make), { code: "CRL_INVALID" });
  const crl = parseCrl(block?.der ?? new Uint8Array());
  expect(block?.label).toBe("X509 CRL");
  expect(crl).toMatchObject({ crlNumber: 256n, baseCrlNumber: undefined });
  expect(crl.authorityKeyId).toEqual(new Uint8Array(authorityKeyId));
  expect([...revokedCertificates(crl)].map(({ serialNumber, reason }) => [serialNumber, reason])).toEqual([
    ["0f", "keyCompromise"],
    ["f00d", "superseded"],
  ]);
  expect(verify("sha384", crl.tbs, publicKey, crl.signature)).toBe(true);
});

test("what was built is read back: numbers, dates, extensions, entries, signed bytes", () => {
  const extensions = [encodeFreshestCrl(["ldap://x", "http://y"])];
  const der = aCrl({ entries, crlNumber: 2n ** 159n - 1n, baseCrlNumber: 0, extensions });
  const crl = parseCrl(der);
  expect(crl).toMatchObject({
    thisUpdate,
    nextUpdate,
    crlNumber: 2n ** 159n - 1n,
    baseCrlNumber: 0n,
    issuingDistributionPoint: undefined,
    unknownCriticalExtensions: [],
  });
  expect(crl.issuer.der).toEqual(issuer);
  expect(parseFreshestCrl(crl.extensions, { code: "CRL_INVALID" })).toEqual(["ldap://x", "http://y"]);
  expect(crl.entries).toEqual(Uint8Array.from(entries.flatMap((entry) => [...entry])));
  expect(verify("sha256", crl.tbs, publicKey, crl.signature)).toBe(true);
  expect(crl.signatureAlgorithm.name).toBe("ecdsa-sha256");
  expect(assembleCrl(crl.tbs, crl.signatureAlgorithm.der, crl.signature)).toEqual(der);
});

test("any entries, in one array or in several, are read back in order and found by serial number", () => {
  const serialNumber = fc
    .bigInt({ min: 1n, max: 2n ** 160n - 1n })
    .map((value) => value.toString(16))
    .map((digits) => (digits.length % 2 === 0 ? digits : `0${digits}`));
  const seconds = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) / 1000 });
  const entry = fc.record({
    serialNumber,
    revocationTimeMs: seconds.map((value) => value * 1000),
    reason: fc.constantFrom(...REASONS),
  });
  const list = fc.uniqueArray(entry, { selector: (each) => each.serialNumber, maxLength: 20 });
  fc.assert(
    fc.property(list, (expected) => {
      const chunks = expected.map((each) =>
        encodeRevokedCertificate({ ...each, serialNumber: fromHex(each.serialNumber) }),
      );
      const crl = parseCrl(aCrl({ entries: Buffer.concat(chunks) }));
      expect([...revokedCertificates(crl)]).toEqual(expected);
      expect(parseCrl(aCrl({ entries: chunks })).entries).toEqual(crl.entries);
      for (const each of expected) {
        expect(findRevoked(crl, each.serialNumber)).toEqual(each);
        expect(isRevoked(crl, each.serialNumber)).toBe(each.reason !== "removeFromCRL");
      }
      expect(findRevoked(crl, "00")).toBeUndefined();
      expect(isRevoked(crl, "ff".repeat(40))).toBe(false);
    }),
    { numRuns: 50 },
  );
});

test("serial numbers that are the beginning or the end of another are not mistaken for it", () => {
  const entry = (digits: string): Uint8Array =>
    encodeRevokedCertificate({ serialNumber: fromHex(digits), revocationTimeMs: 0 });
  const crl = parseCrl(aCrl({ entries: [entry("a1b2"), entry("c3")] }));
  const asked = ["a1", "b2", "a1b2c3", "a1b2", "c3", "00c3"];
  expect(asked.map((digits) => isRevoked(crl, digits))).toEqual([false, false, false, true, true, true]);
  expect(() => isRevoked(crl, "A1:B2")).toThrow(TypeError);
});

test("a CRL without entries has no list of them, as RFC 5280 wants", () => {
  const crl = aCrl({ entries: [new Uint8Array(), new Uint8Array()] });
  expect([...revokedCertificates(parseCrl(crl))]).toEqual([]);
  const text = openssl("crl", "-inform", "DER", "-in", file("empty.crl", crl), "-noout", "-text");
  expect(text).toContain("No Revoked Certificates.");
});

test.each([
  { name: "nothing", flags: [], partial: false, indirect: false },
  { name: "only users", flags: [encodeContextPrimitive(1, ON)], partial: true, indirect: false },
  { name: "only CAs", flags: [encodeContextPrimitive(2, ON)], partial: true, indirect: false },
  {
    name: "reasons",
    flags: [encodeContextPrimitive(3, Uint8Array.of(6, 0x40))],
    partial: true,
    indirect: false,
  },
  { name: "other issuers", flags: [encodeContextPrimitive(4, ON)], partial: false, indirect: true },
  { name: "only attributes", flags: [encodeContextPrimitive(5, ON)], partial: true, indirect: false },
  {
    name: "a flag off",
    flags: [encodeContextPrimitive(1, Uint8Array.of(0))],
    partial: false,
    indirect: false,
  },
])("the scope of a CRL is read: $name", ({ flags, partial, indirect }) => {
  expect(scopedCrl(...flags).issuingDistributionPoint).toEqual({ uris: [], partial, indirect });
});

test("the URIs of a CRL's scope are read, and a flag that is neither on nor off is refused", () => {
  const uris = ["http://a", "http://b"];
  const crl = parseCrl(aCrl({ extensions: [encodeIssuingDistributionPoint(uris)] }));
  expect(crl.issuingDistributionPoint).toEqual({ uris, partial: false, indirect: false });
  expect(codeOf(() => scopedCrl(encodeContextPrimitive(1, Uint8Array.of(1))))).toBe("CRL_INVALID");
});

test("unknown critical extensions of the list are named; of an entry they are refused", () => {
  const unknown = encodeExtension({ oid: "1.2.3.4", critical: true, value: Uint8Array.of(5, 0) });
  const [first = NOTHING, second = NOTHING] = entries;
  const strange = encodeSequence(first.subarray(2), encodeSequence(unknown));
  const crl = parseCrl(aCrl({ extensions: [unknown], entries: [strange, second] }));
  expect(crl.unknownCriticalExtensions).toEqual(["1.2.3.4"]);
  expect(codeOf(() => [...revokedCertificates(crl)])).toBe("CRL_INVALID");
  expect(codeOf(() => isRevoked(crl, "0a"))).toBe("CRL_INVALID");
  expect(isRevoked(crl, "a1b2c3d4e5f60718")).toBe(true);
});

test.each([
  { name: "a serial number 0", run: () => anEntry(Uint8Array.of(0, 0)) },
  { name: "no serial number", run: () => anEntry(NOTHING) },
  { name: "no date", run: () => anEntry(Uint8Array.of(1), Number.NaN) },
  { name: "a reason that is none", run: () => anEntry(Uint8Array.of(1), 0, "boredom" as RevocationReason) },
  { name: "a negative CRL number", run: () => aCrl({ crlNumber: -1 }) },
  { name: "a negative big CRL number", run: () => aCrl({ crlNumber: -10n }) },
  { name: "half a CRL number", run: () => aCrl({ crlNumber: 1.5 }) },
  { name: "a CRL number beyond 20 bytes", run: () => aCrl({ crlNumber: 2n ** 159n }) },
  { name: "an unsafe base CRL number", run: () => aCrl({ baseCrlNumber: 2 ** 53 }) },
  { name: "a distribution point without a URI", run: () => encodeIssuingDistributionPoint([]) },
])("$name cannot be built", ({ run }) => {
  expect(run).toThrow(TypeError);
});

test("more than a million entries are refused where the search comes to them", () => {
  const entry = encodeRevokedCertificate({ serialNumber: Uint8Array.of(1), revocationTimeMs: 0 });
  const many = new Uint8Array(1_000_001 * entry.length);
  for (let i = 0; i < 1_000_001; i++) many.set(entry, i * entry.length);
  const crl = parseCrl(aCrl({ entries: many }));
  expect(isRevoked(crl, "01")).toBe(true);
  expect(codeOf(() => isRevoked(crl, "02"))).toBe("CRL_INVALID");
});

test("a CRL above the limit is refused before it is read", () => {
  expect(codeOf(() => parseCrl(new Uint8Array(MAX_CRL_BYTES + 1)))).toBe("CRL_INVALID");
});

test("every cut-off CRL is refused, and one with a byte more", () => {
  const der = aCrl({ entries });
  for (let length = 0; length < der.length; length++)
    expect(codeOf(() => parseCrl(der.subarray(0, length)))).toBe("CRL_INVALID");
  expect(codeOf(() => parseCrl(Uint8Array.of(...der, 0)))).toBe("CRL_INVALID");
});

test("a CRL of version 1 is read; with extensions, or of a version that does not exist, it is refused", () => {
  const time = Uint8Array.of(0x17, 13, ...Buffer.from("260102030405Z"));
  const of = (...fields: readonly Uint8Array[]): CertificateList =>
    parseCrl(assembleCrl(encodeSequence(...fields), signatureAlgorithm, new Uint8Array(8)));
  expect(of(signatureAlgorithm, issuer, time)).toMatchObject({ thisUpdate, nextUpdate: undefined });
  const extensions = encodeContextConstructed(0, encodeSequence(encodeFreshestCrl(["http://x"])));
  expect(codeOf(() => of(signatureAlgorithm, issuer, time, extensions))).toBe("CRL_INVALID");
  for (const version of [0, 2])
    expect(codeOf(() => of(encodeSmallInteger(version), signatureAlgorithm, issuer, time))).toBe(
      "CRL_INVALID",
    );
});

test("a CRL with bytes changed either is read to its end or throws CRL_INVALID", () => {
  const extensions = [encodeIssuingDistributionPoint(["http://crl.example/ca.crl"])];
  const der = aCrl({ entries, baseCrlNumber: 3, extensions });
  const change = fc.tuple(fc.nat(der.length - 1), fc.integer({ min: 0, max: 255 }));
  const read = (bytes: Uint8Array): void => {
    const crl = parseCrl(bytes);
    isRevoked(crl, "ff");
    expect([...revokedCertificates(crl)].length).toBeLessThan(10);
  };
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
      const copy = der.slice();
      for (const [i, byte] of changes) copy[i] = byte;
      expect(codeOf(() => read(copy))).toMatch(/^(parsed|CRL_INVALID)$/);
    }),
    { numRuns: 2000 },
  );
});

test("a list of 100,000 is built and signed, from one array or from one for each entry, and read to its last", () => {
  const serials = Array.from({ length: 100_000 }, (_, i) => (2n ** 120n + BigInt(i) * 7919n).toString(16));
  const chunks = serials.map((digits, i) =>
    encodeRevokedCertificate({
      serialNumber: fromHex(`0${digits}`),
      revocationTimeMs: thisUpdate,
      reason: REASONS[i % 6],
    }),
  );
  const crl = parseCrl(aCrl({ entries: chunks }));
  expect(crl.entries.length).toBe(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  expect(equalBytes(parseCrl(aCrl({ entries: Buffer.concat(chunks) })).tbs, crl.tbs)).toBe(true);
  expect(isRevoked(crl, `0${serials.at(-1)}`)).toBe(true);
  let count = 0;
  for (const { serialNumber } of revokedCertificates(crl)) if (serialNumber === `0${serials[count]}`) count++;
  expect(count).toBe(100_000);
});

function anEntry(serialNumber: Uint8Array, revocationTimeMs = 0, reason?: RevocationReason): Uint8Array {
  return encodeRevokedCertificate({ serialNumber, revocationTimeMs, reason });
}

function scopedCrl(...flags: readonly Uint8Array[]): CertificateList {
  const value = encodeSequence(...flags);
  const scope = encodeExtension({ oid: OID.issuingDistributionPoint, critical: true, value });
  return parseCrl(aCrl({ extensions: [scope] }));
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return "parsed";
  } catch (error) {
    return error instanceof RksError ? error.code : String(error);
  }
}
