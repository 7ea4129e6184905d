// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 needs it to be loaded first
import "reflect-metadata";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import * as peculiar from "@peculiar/x509";
import { RksError } from "@rk8s/protocol";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { encodeAuthorityInfoAccess, parseAuthorityInfoAccess } from "./authority-info-access.js";
import { assembleCertificate, buildTbsCertificate, parseCertificate } from "./certificate.js";
import { encodeCertificatePolicies, parseCertificatePolicies } from "./certificate-policies.js";
import { DerReader } from "./der-reader.js";
import {
  encodeContextConstructed,
  encodeContextPrimitive,
  encodeElement,
  encodeIa5String,
  encodeOid,
  encodeSequence,
  encodeSmallInteger,
  encodeUtf8String,
} from "./der-writer.js";
import {
  encodeCrlDistributionPoints,
  encodeFreshestCrl,
  parseCrlDistributionPoints,
  parseFreshestCrl,
} from "./distribution-points.js";
import { encodeExtension, type Extension, readExtensions } from "./extension.js";
import { encodeName, formatName, nameValues } from "./name.js";
import { encodeNameConstraints, parseNameConstraints } from "./name-constraints.js";
import { OID } from "./oids.js";
import { encodeSignatureAlgorithm } from "./signature-algorithm.js";
import { encodeSubjectAlternativeName } from "./subject-alternative-name.js";

const UPN = "1.3.6.1.4.1.311.20.2.3";
const caKeys = generateKeyPairSync("ec", { namedCurve: "P-256" });
const leafKeys = generateKeyPairSync("ec", { namedCurve: "P-256" });
const caName = encodeName([{ type: OID.commonName, value: "Some CA" }]);
const leafName = encodeName([{ type: OID.organizationName, value: "rk8s" }]);
const signatureAlgorithm = encodeSignatureAlgorithm("ecdsa-sha256");

const folder = mkdtempSync(path.join(tmpdir(), "rk8s-extensions-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function file(name: string, content: string | Uint8Array): string {
  const at = path.join(folder, name);
  writeFileSync(at, content);
  return at;
}

function build(subject: Uint8Array, key: KeyObject, extensions: readonly Uint8Array[]): Uint8Array {
  const tbs = buildTbsCertificate({
    serialNumber: Uint8Array.of(1, 2),
    signatureAlgorithm,
    issuer: caName,
    notBefore: Date.UTC(2026, 0, 1),
    notAfter: Date.UTC(2099, 0, 1),
    subject,
    spki: key.export({ type: "spki", format: "der" }),
    extensions,
  });
  return assembleCertificate(tbs, signatureAlgorithm, sign("sha256", tbs, caKeys.privateKey));
}

function aLeaf(...extensions: readonly Uint8Array[]): Uint8Array {
  return build(leafName, leafKeys.publicKey, extensions);
}

function san(names: Parameters<typeof encodeSubjectAlternativeName>[0]): Uint8Array {
  const value = encodeSubjectAlternativeName(names);
  return encodeExtension({ oid: OID.subjectAltName, critical: false, value });
}

/** One extension as openssl shows it, in one line. */
function shown(der: Uint8Array, extension: string): string {
  const input = file("shown.der", der);
  const text = execFileSync("openssl", ["x509", "-inform", "DER", "-in", input, "-noout", "-ext", extension]);
  return text.toString().replaceAll(/\s+/g, " ").trim();
}

function extensionsOf(...encoded: readonly Uint8Array[]): Extension[] {
  return readExtensions(DerReader.over(encodeSequence(...encoded), { code: "CERTIFICATE_INVALID" }));
}

function extensionOf(oid: string, ...parts: readonly Uint8Array[]): Extension[] {
  return [{ oid, critical: false, value: encodeSequence(...parts) }];
}

test("openssl and @peculiar/x509 read AuthorityInfoAccess", () => {
  const access = {
    ocsp: ["http://ocsp.example"],
    caIssuers: ["http://ca.example/1.der", "ldap://ca.example"],
  };
  const der = aLeaf(encodeAuthorityInfoAccess(access));
  expect(shown(der, "authorityInfoAccess")).toBe(
    "Authority Information Access: OCSP - URI:http://ocsp.example CA Issuers - URI:http://ca.example/1.der CA Issuers - URI:ldap://ca.example",
  );
  const other = new peculiar.X509Certificate(Buffer.from(der)).getExtension(
    peculiar.AuthorityInfoAccessExtension,
  );
  expect(other?.ocsp.map(({ value }) => value)).toEqual(access.ocsp);
  expect(other?.caIssuers.map(({ value }) => value)).toEqual(access.caIssuers);
  expect(parseAuthorityInfoAccess(parseCertificate(der).extensions)).toEqual(access);
});

test("openssl and @peculiar/x509 read CRLDistributionPoints and FreshestCRL", () => {
  const der = aLeaf(
    encodeCrlDistributionPoints(["http://a.example/crl", "http://b.example/crl"]),
    encodeFreshestCrl(["http://a.example/delta"]),
  );
  expect(shown(der, "crlDistributionPoints")).toBe(
    "X509v3 CRL Distribution Points: Full Name: URI:http://a.example/crl Full Name: URI:http://b.example/crl",
  );
  expect(shown(der, "freshestCRL")).toBe("X509v3 Freshest CRL: Full Name: URI:http://a.example/delta");
  const other = new peculiar.X509Certificate(Buffer.from(der)).getExtension(
    peculiar.CRLDistributionPointsExtension,
  );
  expect(
    other?.distributionPoints.map(
      (point) => point.distributionPoint?.fullName?.[0]?.uniformResourceIdentifier,
    ),
  ).toEqual(["http://a.example/crl", "http://b.example/crl"]);
  const { extensions } = parseCertificate(der);
  expect(parseCrlDistributionPoints(extensions)).toEqual(["http://a.example/crl", "http://b.example/crl"]);
  expect(parseFreshestCrl(extensions)).toEqual(["http://a.example/delta"]);
});

test("openssl reads CertificatePolicies with their qualifiers", () => {
  const policies = [
    { oid: "1.3.6.1.4.1.44947.1.1.1", cps: "http://cps.example", notice: "Nur für Tests" },
    { oid: "2.23.140.1.2.1" },
  ];
  const der = aLeaf(encodeCertificatePolicies(policies));
  expect(shown(der, "certificatePolicies")).toBe(
    "X509v3 Certificate Policies: Policy: 1.3.6.1.4.1.44947.1.1.1 CPS: http://cps.example User Notice: Explicit Text: Nur für Tests Policy: 2.23.140.1.2.1",
  );
  expect(parseCertificatePolicies(parseCertificate(der).extensions)).toEqual(policies);
});

test("openssl shows otherNames, and they are read back with their values", () => {
  const utf8OtherNames = [
    { type: UPN, value: "jo@example.com" },
    { type: "1.3.6.1.4.1.44947.9.1", value: "Zürich;x" },
  ];
  const der = aLeaf(san({ dnsNames: ["a.example"], utf8OtherNames }));
  expect(shown(der, "subjectAltName")).toBe(
    "X509v3 Subject Alternative Name: DNS:a.example, othername: UPN::jo@example.com, othername: 1.3.6.1.4.1.44947.9.1::Zürich;x",
  );
  expect(parseCertificate(der)).toMatchObject({ dnsNames: ["a.example"], utf8OtherNames, otherNames: 2 });
});

test("an otherName of another type and a directoryName are only counted", () => {
  const ia5 = encodeContextConstructed(0, encodeOid(UPN), encodeContextConstructed(0, encodeIa5String("x")));
  const directory = encodeContextConstructed(4, caName);
  const utf8 = encodeContextConstructed(
    0,
    encodeOid(UPN),
    encodeContextConstructed(0, encodeUtf8String("y")),
  );
  const value = encodeSequence(ia5, directory, utf8);
  const der = aLeaf(encodeExtension({ oid: OID.subjectAltName, critical: false, value }));
  expect(parseCertificate(der)).toMatchObject({ otherNames: 3, utf8OtherNames: [{ type: UPN, value: "y" }] });
});

/** What openssl makes a certificate from that has about everything. */
const EVERYTHING = `
[req]
distinguished_name = d
prompt = no
x509_extensions = e
[d]
CN = All
serialNumber = S-1
UID = jo
emailAddress = a@b.c
[e]
subjectAltName = @names
keyUsage = critical,digitalSignature,decipherOnly
extendedKeyUsage = serverAuth,1.2.3.4
basicConstraints = critical,CA:TRUE,pathlen:3
nameConstraints = critical,permitted;DNS:.example,excluded;IP:10.0.0.0/255.255.0.0,permitted;dirName:dn
subjectKeyIdentifier = hash
authorityInfoAccess = OCSP;URI:http://o,caIssuers;URI:http://c,OCSP;email:x@y.z
crlDistributionPoints = URI:http://crl,p
freshestCRL = URI:http://delta
certificatePolicies = 1.2.3,@q
[names]
DNS = a.example
IP = 10.0.0.1
URI = spiffe://x/y
email = a@b.c
otherName.1 = 1.2.3.4;FORMAT:UTF8,UTF8:Käse
otherName.2 = 1.2.3.5;IA5:z
RID = 1.2.3
[p]
fullname = URI:http://p1,URI:http://p2
reasons = keyCompromise
CRLissuer = dirName:dn
[q]
policyIdentifier = 1.3.5
CPS.1 = http://cps
userNotice.1 = @n
[n]
explicitText = UTF8:notice
organization = o
noticeNumbers = 1,2
[dn]
CN = x
`;

test("openssl's names of all kinds, constraints, policies and access points are read", () => {
  const config = file("all.cnf", EVERYTHING);
  const key = file("all.key", caKeys.privateKey.export({ type: "pkcs8", format: "pem" }));
  const out = path.join(folder, "all.der");
  execFileSync(
    "openssl",
    ["req", "-x509", "-utf8", "-config", config, "-key", key, "-outform", "DER", "-out", out],
    { stdio: "pipe" },
  );
  const certificate = parseCertificate(readFileSync(out));
  expect(formatName(certificate.subject)).toBe("CN=All,serialNumber=S-1,UID=jo,emailAddress=a@b.c");
  expect(certificate).toMatchObject({
    dnsNames: ["a.example"],
    ipAddresses: ["10.0.0.1"],
    uris: ["spiffe://x/y"],
    emails: ["a@b.c"],
    utf8OtherNames: [{ type: "1.2.3.4", value: "Käse" }],
    otherNames: 3,
    keyUsage: ["digitalSignature", "decipherOnly"],
    extendedKeyUsage: [OID.serverAuth, "1.2.3.4"],
    pathLength: 3,
  });
  const { extensions } = certificate;
  expect(parseNameConstraints(extensions)).toEqual({
    permitted: { dnsDomains: [".example"], emails: [], ipRanges: [], uriDomains: [] },
    excluded: { dnsDomains: [], emails: [], ipRanges: ["10.0.0.0/16"], uriDomains: [] },
    otherSubtrees: 1,
  });
  expect(parseAuthorityInfoAccess(extensions)).toEqual({ ocsp: ["http://o"], caIssuers: ["http://c"] });
  expect(parseCrlDistributionPoints(extensions)).toEqual(["http://crl", "http://p1", "http://p2"]);
  expect(parseFreshestCrl(extensions)).toEqual(["http://delta"]);
  expect(parseCertificatePolicies(extensions)).toEqual([
    { oid: "1.2.3" },
    { oid: "1.3.5", cps: "http://cps", notice: "notice" },
  ]);
});

test("a subject with serialNumber, UID, email address and domain component has the string types of RFC 5280", () => {
  const attributes = [
    { type: OID.serialNumber, value: "S-1" },
    { type: OID.userId, value: "jo" },
    { type: OID.emailAddress, value: "a@b.c" },
    { type: OID.domainComponent, value: "example" },
    { type: OID.emailAddress, value: "ü@b.c" },
  ];
  const certificate = parseCertificate(build(encodeName(attributes), leafKeys.publicKey, []));
  const input = file("subject.der", certificate.der);
  const text = execFileSync("openssl", [
    "x509",
    "-inform",
    "DER",
    "-in",
    input,
    "-noout",
    "-subject",
    "-nameopt",
    "show_type,utf8,sep_comma_plus",
  ]);
  expect(text.toString().trim()).toBe(
    "subject=serialNumber=PRINTABLESTRING:S-1,UID=UTF8STRING:jo,emailAddress=IA5STRING:a@b.c,DC=IA5STRING:example,emailAddress=UTF8STRING:ü@b.c",
  );
  expect(certificate.subject.rdns.flat()).toEqual(attributes);
  expect(nameValues(certificate.subject, OID.userId)).toEqual(["jo"]);
});

test("what is not there is undefined", () => {
  expect(parseAuthorityInfoAccess([])).toBeUndefined();
  expect(parseCrlDistributionPoints([])).toBeUndefined();
  expect(parseFreshestCrl([])).toBeUndefined();
  expect(parseNameConstraints([])).toBeUndefined();
  expect(parseCertificatePolicies([])).toBeUndefined();
});

test.each([
  { name: "access without a URI", run: () => encodeAuthorityInfoAccess({ ocsp: [] }) },
  { name: "an empty access URI", run: () => encodeAuthorityInfoAccess({ ocsp: [""] }) },
  { name: "an access URI beyond ASCII", run: () => encodeAuthorityInfoAccess({ caIssuers: ["http://ü"] }) },
  { name: "a URI with a line break", run: () => encodeCrlDistributionPoints(["http://x\n"]) },
  { name: "no distribution point", run: () => encodeCrlDistributionPoints([]) },
  { name: "no delta point", run: () => encodeFreshestCrl([]) },
  { name: "no policy", run: () => encodeCertificatePolicies([]) },
  { name: "a policy twice", run: () => encodeCertificatePolicies([{ oid: "1.2.3" }, { oid: "1.2.3" }]) },
  { name: "a policy that is no oid", run: () => encodeCertificatePolicies([{ oid: "1.2.x" }]) },
  { name: "a CPS beyond ASCII", run: () => encodeCertificatePolicies([{ oid: "1.2.3", cps: "ü" }]) },
  { name: "an empty notice", run: () => encodeCertificatePolicies([{ oid: "1.2.3", notice: "" }]) },
  {
    name: "a notice of 201 characters",
    run: () => encodeCertificatePolicies([{ oid: "1.2.3", notice: "x".repeat(201) }]),
  },
  {
    name: "an otherName that is no oid",
    run: () => encodeSubjectAlternativeName({ utf8OtherNames: [{ type: "x", value: "" }] }),
  },
])("$name cannot be built", ({ run }) => {
  expect(run).toThrow(TypeError);
});

test.each([
  { name: "no policies", run: () => parseCertificatePolicies(extensionOf(OID.certificatePolicies)) },
  {
    name: "101 policies",
    run: () =>
      parseCertificatePolicies(
        extensionOf(
          OID.certificatePolicies,
          ...Array.from({ length: 101 }, () => encodeSequence(encodeOid("1.2"))),
        ),
      ),
  },
  {
    name: "17 qualifiers",
    run: () =>
      parseCertificatePolicies(
        extensionOf(
          OID.certificatePolicies,
          encodeSequence(
            encodeOid("1.2"),
            encodeSequence(
              ...Array.from({ length: 17 }, () => encodeSequence(encodeOid("1.3"), encodeIa5String(""))),
            ),
          ),
        ),
      ),
  },
  {
    name: "a notice that is not UTF-8",
    run: () =>
      parseCertificatePolicies(
        extensionOf(
          OID.certificatePolicies,
          encodeSequence(
            encodeOid("1.2"),
            encodeSequence(
              encodeSequence(
                encodeOid(OID.userNoticeQualifier),
                encodeSequence(encodeElement(0x0c, Uint8Array.of(0xff))),
              ),
            ),
          ),
        ),
      ),
  },
  {
    name: "101 access points",
    run: () =>
      parseAuthorityInfoAccess(
        extensionOf(
          OID.authorityInfoAccess,
          ...Array.from({ length: 101 }, () =>
            encodeSequence(encodeOid(OID.ocsp), encodeContextPrimitive(6, new Uint8Array())),
          ),
        ),
      ),
  },
  {
    name: "an access URI with a NUL",
    run: () =>
      parseAuthorityInfoAccess(
        extensionOf(
          OID.authorityInfoAccess,
          encodeSequence(encodeOid(OID.ocsp), encodeContextPrimitive(6, Uint8Array.of(0))),
        ),
      ),
  },
  {
    name: "101 distribution points",
    run: () =>
      parseCrlDistributionPoints(
        extensionOf(OID.crlDistributionPoints, ...Array.from({ length: 101 }, () => encodeSequence())),
      ),
  },
  {
    name: "101 names of one point",
    run: () =>
      parseCrlDistributionPoints(
        extensionOf(
          OID.crlDistributionPoints,
          encodeSequence(
            encodeContextConstructed(
              0,
              encodeContextConstructed(
                0,
                ...Array.from({ length: 101 }, () => encodeContextPrimitive(6, new Uint8Array())),
              ),
            ),
          ),
        ),
      ),
  },
  {
    name: "a number for a point",
    run: () => parseFreshestCrl(extensionOf(OID.freshestCrl, encodeSmallInteger(1))),
  },
])("$name cannot be read", ({ run }) => {
  expect(codeOf(run)).toBe("CERTIFICATE_INVALID");
});

test("a failure has the code that was asked for", () => {
  const extensions = extensionOf(OID.certificatePolicies);
  expect(codeOf(() => parseCertificatePolicies(extensions, { code: "CSR_INVALID" }))).toBe("CSR_INVALID");
});

test("any bytes in any extension either parse or throw CERTIFICATE_INVALID", () => {
  const samples = [
    encodeNameConstraints({
      permitted: { dnsDomains: ["a"], ipRanges: ["10.0.0.0/8"] },
      excluded: { emails: ["b"] },
    }),
    encodeCertificatePolicies([{ oid: "1.2.3", cps: "http://c", notice: "n" }]),
    encodeAuthorityInfoAccess({ ocsp: ["http://o"], caIssuers: ["http://c"] }),
    encodeCrlDistributionPoints(["http://a", "http://b"]),
    encodeFreshestCrl(["http://a"]),
  ].flatMap((encoded) => extensionsOf(encoded));
  const mutated = fc.constantFrom(...samples).chain(({ oid, value }) =>
    fc
      .array(fc.tuple(fc.nat(value.length - 1), fc.integer({ min: 0, max: 255 })), { maxLength: 3 })
      .map((changes) => {
        const copy = value.slice();
        for (const [i, byte] of changes) copy[i] = byte;
        return { oid, critical: false, value: copy };
      }),
  );
  const any = fc.record({
    oid: fc.constantFrom(...samples.map(({ oid }) => oid)),
    critical: fc.boolean(),
    value: fc.uint8Array({ maxLength: 60 }),
  });
  fc.assert(
    fc.property(fc.oneof(mutated, any), (extension) => {
      for (const parse of [
        parseNameConstraints,
        parseCertificatePolicies,
        parseAuthorityInfoAccess,
        parseCrlDistributionPoints,
        parseFreshestCrl,
      ])
        expect(codeOf(() => parse([extension]))).toMatch(/^(parsed|CERTIFICATE_INVALID)$/);
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
