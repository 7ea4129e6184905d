// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 needs it to be loaded first
import "reflect-metadata";
import { spawnSync } from "node:child_process";
import { generateKeyPairSync, sign, verify, webcrypto } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import * as peculiar from "@peculiar/x509";
import { RksError } from "@rk8s/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  assembleCertificateRequest,
  buildCertificateRequestInfo,
  MAX_CSR_BYTES,
  parseCertificateRequest,
} from "./certificate-request.js";
import { parseCertificatePolicies } from "./certificate-policies.js";
import { encodeBasicConstraints, encodeExtension, encodeKeyUsage } from "./extension.js";
import { encodeName, formatName, nameValues } from "./name.js";
import { OID } from "./oids.js";
import { encodeSignatureAlgorithm } from "./signature-algorithm.js";
import { encodeSubjectAlternativeName } from "./subject-alternative-name.js";

const { publicKey, privateKey } = generateKeyPairSync("ed25519");

function aRequest(extensions: readonly Uint8Array[]): Uint8Array {
  const tbs = buildCertificateRequestInfo({
    subject: encodeName([{ type: OID.commonName, value: "worker-1" }]),
    spki: publicKey.export({ type: "spki", format: "der" }),
    extensions,
  });
  return assembleCertificateRequest(tbs, encodeSignatureAlgorithm("ed25519"), sign(null, tbs, privateKey));
}

test("reads a request of @peculiar/x509 with the extensions it asks for", async () => {
  peculiar.cryptoProvider.set(webcrypto);
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const made = await peculiar.Pkcs10CertificateRequestGenerator.create({
    name: "CN=worker-1",
    keys,
    signingAlgorithm: algorithm,
    attributes: [new peculiar.ChallengePasswordAttribute("ignored")],
    extensions: [
      new peculiar.SubjectAlternativeNameExtension([
        { type: "dns", value: "worker-1.example" },
        { type: "ip", value: "10.0.0.1" },
      ]),
      new peculiar.BasicConstraintsExtension(true, undefined, true),
    ],
  });
  const request = parseCertificateRequest(new Uint8Array(made.rawData));
  expect(nameValues(request.subject, OID.commonName)).toEqual(["worker-1"]);
  expect(request.publicKey).toMatchObject({ algorithm: "ec", curve: "P-256" });
  expect(request.signatureAlgorithm.name).toBe("ecdsa-sha256");
  expect(request.requested).toMatchObject({
    isCa: true,
    dnsNames: ["worker-1.example"],
    ipAddresses: ["10.0.0.1"],
  });
  expect(request.requestedExtensions.map(({ oid }) => oid)).toEqual(["2.5.29.17", "2.5.29.19"]);
});

test("@peculiar/x509 reads and verifies a request that was built here", async () => {
  const names = encodeSubjectAlternativeName({ uris: ["spiffe://rk8s.local/node/worker-1"] });
  const der = aRequest([encodeExtension({ oid: OID.subjectAltName, critical: false, value: names })]);
  const other = new peculiar.Pkcs10CertificateRequest(Buffer.from(der));
  expect(other.subject).toBe("CN=worker-1");
  await expect(other.verify(webcrypto)).resolves.toBe(true);
});

test("building what was parsed gives the same bytes, and the signed bytes verify", () => {
  const der = aRequest([encodeBasicConstraints({ isCa: false, pathLength: undefined })]);
  const request = parseCertificateRequest(der);
  const tbs = buildCertificateRequestInfo({
    subject: request.subject.der,
    spki: request.spki,
    extensions: request.requestedExtensions.map(encodeExtension),
  });
  expect(assembleCertificateRequest(tbs, request.signatureAlgorithm.der, request.signature)).toEqual(der);
  expect(verify(null, request.tbs, publicKey, request.signature)).toBe(true);
});

test("openssl reads and verifies a request for an intermediate CA that was built here", () => {
  const names = encodeSubjectAlternativeName({
    dnsNames: ["ca.example"],
    utf8OtherNames: [{ type: "1.3.6.1.4.1.311.20.2.3", value: "jo@example" }],
  });
  const der = aRequest([
    encodeBasicConstraints({ isCa: true, pathLength: 0 }),
    encodeKeyUsage(["keyCertSign", "cRLSign"]),
    encodeExtension({ oid: OID.subjectAltName, critical: false, value: names }),
  ]);
  const args = ["req", "-inform", "DER", "-noout", "-verify", "-text"];
  const { stdout, stderr } = spawnSync("openssl", args, { input: der, encoding: "utf8" });
  expect(stdout + stderr).toContain("verify OK");
  expect(stdout.replaceAll(/\s+/g, " ")).toContain(
    "Requested Extensions: X509v3 Basic Constraints: critical CA:TRUE, pathlen:0 X509v3 Key Usage: critical Certificate Sign, CRL Sign X509v3 Subject Alternative Name: DNS:ca.example, othername: UPN::jo@example",
  );
});

test("everything that a request of openssl's asks for is read; its challenge password is not", () => {
  const config = `
[req]
distinguished_name = d
prompt = no
req_extensions = e
attributes = a
[a]
challengePassword = ignored
[d]
O = rk8s
1.OU = one
2.OU = two
CN = worker-1
serialNumber = S-1
UID = jo
[e]
subjectAltName = DNS:a.example,IP:2001:db8::1,URI:spiffe://x/y,email:a@b.c,otherName:1.2.3.4;UTF8:v
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = clientAuth,1.2.3.5
basicConstraints = CA:FALSE
certificatePolicies = 1.2.3.6
`;
  const folder = mkdtempSync(path.join(tmpdir(), "rk8s-csr-"));
  try {
    writeFileSync(path.join(folder, "csr.cnf"), config);
    writeFileSync(path.join(folder, "csr.key"), privateKey.export({ type: "pkcs8", format: "pem" }));
    const args = ["req", "-new", "-config", "csr.cnf", "-key", "csr.key", "-outform", "DER"];
    const { stdout } = spawnSync("openssl", args, { cwd: folder });
    const request = parseCertificateRequest(stdout);
    expect(formatName(request.subject)).toBe("O=rk8s,OU=one,OU=two,CN=worker-1,serialNumber=S-1,UID=jo");
    expect(request.requested).toMatchObject({
      dnsNames: ["a.example"],
      ipAddresses: ["2001:db8::1"],
      uris: ["spiffe://x/y"],
      emails: ["a@b.c"],
      utf8OtherNames: [{ type: "1.2.3.4", value: "v" }],
      otherNames: 1,
      keyUsage: ["digitalSignature", "keyEncipherment"],
      extendedKeyUsage: [OID.clientAuth, "1.2.3.5"],
      isCa: false,
    });
    const policies = parseCertificatePolicies(request.requestedExtensions, { code: "CSR_INVALID" });
    expect(policies).toEqual([{ oid: "1.2.3.6" }]);
    expect(verify(null, request.tbs, publicKey, request.signature)).toBe(true);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a request without attributes asks for nothing", () => {
  expect(parseCertificateRequest(aRequest([]))).toMatchObject({
    requestedExtensions: [],
    requested: { isCa: false, dnsNames: [] },
  });
});

test("a request above the limit is refused before it is read", () => {
  expect(() => parseCertificateRequest(new Uint8Array(MAX_CSR_BYTES + 1))).toThrow(
    expect.objectContaining({ code: "CSR_INVALID", message: expect.stringContaining("16384") }) as Error,
  );
});

test("bytes after a request are refused, one too few as well", () => {
  const request = aRequest([]);
  const longer = Uint8Array.of(...request, 0);
  expect(() => parseCertificateRequest(longer)).toThrow(expect.objectContaining({ code: "CSR_INVALID" }));
  expect(() => parseCertificateRequest(request.subarray(0, -1))).toThrow(
    expect.objectContaining({ code: "CSR_INVALID" }),
  );
});

test("any bytes and any mutation either parse or throw CSR_INVALID", () => {
  const der = aRequest([encodeBasicConstraints({ isCa: true, pathLength: 1 })]);
  const mutated = fc
    .array(fc.tuple(fc.nat(der.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 3 })
    .map((changes) => {
      const copy = der.slice();
      for (const [i, byte] of changes) copy[i] = byte;
      return copy;
    });
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (bytes) => {
      expect(codeOf(() => parseCertificateRequest(bytes))).toMatch(/^(parsed|CSR_INVALID)$/);
    }),
    { numRuns: 2000 },
  );
});

function codeOf(run: () => unknown): string {
  try {
    run();
    return "parsed";
  } catch (error) {
    return error instanceof RksError ? error.code : String(error);
  }
}
