// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 needs it to be loaded first
import "reflect-metadata";
import { generateKeyPairSync, sign, webcrypto, X509Certificate } from "node:crypto";
import * as peculiar from "@peculiar/x509";
import { RksError } from "@rk8s/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { assembleCertificate, buildTbsCertificate, parseCertificate } from "./certificate.js";
import {
  encodeAuthorityKeyIdentifier,
  encodeBasicConstraints,
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeKeyUsage,
  encodeSubjectKeyIdentifier,
} from "./extension.js";
import { encodeName, formatName, nameValues } from "./name.js";
import { OID } from "./oids.js";
import { encodeSignatureAlgorithm } from "./signature-algorithm.js";
import { encodeSubjectAlternativeName } from "./subject-alternative-name.js";

const subject = encodeName([
  { type: OID.countryName, value: "CH" },
  { type: OID.organizationName, value: "rk8s, Überall" },
  { type: OID.commonName, value: "worker-1" },
]);

/** RSA keys take a while to make, more so on a busy machine. */
const RSA_TIMEOUT_MS = 30_000;

function fromHex(digits: string): Uint8Array {
  return Uint8Array.from(Buffer.from(digits, "hex"));
}

function aCertificate(): Uint8Array {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const signatureAlgorithm = encodeSignatureAlgorithm("ecdsa-sha256");
  const names = encodeSubjectAlternativeName({
    dnsNames: ["worker-1.example"],
    ipAddresses: ["10.0.0.1", "2001:db8::1"],
    uris: ["spiffe://rk8s.local/node/worker-1"],
    emails: ["ops@example.org"],
  });
  const tbs = buildTbsCertificate({
    serialNumber: fromHex("00a1b2c3d4e5f60718"),
    signatureAlgorithm,
    issuer: subject,
    notBefore: Date.UTC(2026, 0, 2, 3, 4, 5),
    notAfter: Date.UTC(2051, 5, 6, 7, 8, 9),
    subject,
    spki: publicKey.export({ type: "spki", format: "der" }),
    extensions: [
      encodeBasicConstraints({ isCa: false, pathLength: undefined }),
      encodeKeyUsage(["digitalSignature", "keyAgreement"]),
      encodeExtendedKeyUsage([OID.clientAuth]),
      encodeExtension({ oid: OID.subjectAltName, critical: false, value: names }),
      encodeSubjectKeyIdentifier(fromHex("0102030405060708")),
      encodeAuthorityKeyIdentifier(fromHex("a1a2a3a4a5a6a7a8")),
    ],
  });
  return assembleCertificate(tbs, signatureAlgorithm, sign("sha256", tbs, privateKey));
}

function rebuild(der: Uint8Array): Uint8Array {
  const c = parseCertificate(der);
  const algorithm = c.signatureAlgorithm.der;
  const tbs = buildTbsCertificate({
    serialNumber: fromHex(c.serialNumber),
    signatureAlgorithm: algorithm,
    issuer: c.issuer.der,
    notBefore: c.notBefore,
    notAfter: c.notAfter,
    subject: c.subject.der,
    spki: c.spki,
    extensions: c.extensions.map(encodeExtension),
  });
  return assembleCertificate(tbs, algorithm, c.signature);
}

test("what was built is parsed back, field by field", () => {
  const certificate = parseCertificate(aCertificate());
  expect(certificate).toMatchObject({
    serialNumber: "a1b2c3d4e5f60718",
    notBefore: Date.UTC(2026, 0, 2, 3, 4, 5),
    notAfter: Date.UTC(2051, 5, 6, 7, 8, 9),
    isCa: false,
    pathLength: undefined,
    keyUsage: ["digitalSignature", "keyAgreement"],
    extendedKeyUsage: ["1.3.6.1.5.5.7.3.2"],
    dnsNames: ["worker-1.example"],
    ipAddresses: ["10.0.0.1", "2001:db8::1"],
    uris: ["spiffe://rk8s.local/node/worker-1"],
    emails: ["ops@example.org"],
    otherNames: 0,
    unknownCriticalExtensions: [],
    publicKey: { algorithm: "ec", curve: "P-256", bits: 256 },
  });
  expect(certificate.signatureAlgorithm.name).toBe("ecdsa-sha256");
  expect(certificate.subjectKeyId).toEqual(fromHex("0102030405060708"));
  expect(certificate.authorityKeyId).toEqual(fromHex("a1a2a3a4a5a6a7a8"));
  expect(nameValues(certificate.subject, OID.commonName)).toEqual(["worker-1"]);
  expect(formatName(certificate.subject)).toBe(String.raw`C=CH,O=rk8s\, Überall,CN=worker-1`);
});

test("node:crypto and @peculiar/x509 read what was built", () => {
  const der = aCertificate();
  const node = new X509Certificate(der);
  expect(node.serialNumber).toBe("A1B2C3D4E5F60718");
  expect(node.verify(node.publicKey)).toBe(true);
  expect(node.subjectAltName).toBe(
    "DNS:worker-1.example, email:ops@example.org, IP Address:10.0.0.1, IP Address:2001:DB8:0:0:0:0:0:1, URI:spiffe://rk8s.local/node/worker-1",
  );
  const other = new peculiar.X509Certificate(Buffer.from(der));
  expect(other.subject).toBe(String.raw`C=CH, O=rk8s\, Überall, CN=worker-1`);
  expect(other.notAfter.toISOString()).toBe("2051-06-06T07:08:09.000Z");
  expect(other.getExtension(peculiar.KeyUsagesExtension)?.usages).toBe(
    peculiar.KeyUsageFlags.digitalSignature | peculiar.KeyUsageFlags.keyAgreement,
  );
});

test.each([
  {
    name: "ECDSA P-256",
    algorithm: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
    key: { algorithm: "ec", bits: 256 },
  },
  {
    name: "ECDSA P-384",
    algorithm: { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" },
    key: { algorithm: "ec", bits: 384 },
  },
  {
    name: "ECDSA P-521",
    algorithm: { name: "ECDSA", namedCurve: "P-521", hash: "SHA-512" },
    key: { algorithm: "ec", bits: 521 },
  },
  { name: "Ed25519", algorithm: { name: "Ed25519" }, key: { algorithm: "ed25519", bits: 256 } },
  {
    name: "RSA-2048",
    algorithm: {
      name: "RSASSA-PKCS1-v1_5",
      modulusLength: 2048,
      publicExponent: Uint8Array.of(1, 0, 1),
      hash: "SHA-256",
    },
    key: { algorithm: "rsa", bits: 2048, exponent: Uint8Array.of(1, 0, 1) },
  },
])(
  "reads a CA certificate of @peculiar/x509 with $name, and building it again gives the same bytes",
  async (row) => {
    peculiar.cryptoProvider.set(webcrypto);
    const keys = await webcrypto.subtle.generateKey(row.algorithm as webcrypto.EcKeyGenParams, true, [
      "sign",
      "verify",
    ]);
    const made = await peculiar.X509CertificateGenerator.createSelfSigned({
      serialNumber: "7f01",
      name: "CN=Some Root, O=Peculiar",
      notBefore: new Date("2026-01-01T00:00:00Z"),
      notAfter: new Date("2027-01-01T00:00:00Z"),
      signingAlgorithm: row.algorithm,
      keys,
      extensions: [
        new peculiar.BasicConstraintsExtension(true, 2, true),
        new peculiar.KeyUsagesExtension(
          peculiar.KeyUsageFlags.keyCertSign | peculiar.KeyUsageFlags.cRLSign,
          true,
        ),
        await peculiar.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    const der = new Uint8Array(made.rawData);
    expect(parseCertificate(der)).toMatchObject({
      serialNumber: "7f01",
      isCa: true,
      pathLength: 2,
      keyUsage: ["keyCertSign", "cRLSign"],
      extendedKeyUsage: undefined,
      publicKey: row.key,
    });
    expect(rebuild(der)).toEqual(der);
  },
  RSA_TIMEOUT_MS,
);

test("building what was parsed gives the same bytes", () => {
  const der = aCertificate();
  expect(rebuild(der)).toEqual(der);
});

test("any bytes either parse or throw CERTIFICATE_INVALID", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(codeOf(() => parseCertificate(bytes))).toMatch(/^(parsed|CERTIFICATE_INVALID)$/);
    }),
  );
});

test("a certificate with a byte changed, cut or doubled either parses or throws CERTIFICATE_INVALID", () => {
  const der = aCertificate();
  const index = fc.nat(der.length - 1);
  fc.assert(
    fc.property(
      index,
      index,
      fc.integer({ min: 0, max: 255 }),
      fc.constantFrom("set", "cut", "double"),
      (i, j, byte, how) => {
        const [from, to] = [Math.min(i, j), Math.max(i, j)];
        const middle =
          how === "set"
            ? [byte]
            : how === "cut"
              ? []
              : [...der.subarray(from, to), ...der.subarray(from, to)];
        const mutated = Uint8Array.from([
          ...der.subarray(0, from),
          ...middle,
          ...der.subarray(how === "set" ? from + 1 : to),
        ]);
        expect(codeOf(() => parseCertificate(mutated))).toMatch(/^(parsed|CERTIFICATE_INVALID)$/);
      },
    ),
    { numRuns: 2000 },
  );
});

test("every cut-off certificate is refused", () => {
  const der = aCertificate();
  for (let length = 0; length < der.length; length++) {
    expect(codeOf(() => parseCertificate(der.subarray(0, length)))).toBe("CERTIFICATE_INVALID");
  }
  expect(codeOf(() => parseCertificate(Uint8Array.from([...der, 0])))).toBe("CERTIFICATE_INVALID");
});

test.each([
  { name: "0", serialNumber: Uint8Array.of(0) },
  { name: "21 bytes", serialNumber: new Uint8Array(21).fill(1) },
  { name: "20 bytes with the top bit set", serialNumber: new Uint8Array(20).fill(0x80) },
])("the serial number $name cannot be built", ({ serialNumber }) => {
  const tbs = () =>
    buildTbsCertificate({
      serialNumber,
      signatureAlgorithm: encodeSignatureAlgorithm("ed25519"),
      issuer: subject,
      notBefore: 0,
      notAfter: 0,
      subject,
      spki: new Uint8Array(),
      extensions: [],
    });
  expect(tbs).toThrow(TypeError);
});

function codeOf(run: () => unknown): string {
  try {
    run();
    return "parsed";
  } catch (error) {
    return error instanceof RksError ? error.code : String(error);
  }
}
