import { execFileSync, spawnSync } from "node:child_process";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { RksError } from "@rk8s/protocol";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { assembleCertificate, buildTbsCertificate, parseCertificate } from "./certificate.js";
import { DerReader } from "./der-reader.js";
import { encodeContextConstructed, encodeContextPrimitive, encodeSequence } from "./der-writer.js";
import {
  encodeBasicConstraints,
  encodeExtension,
  encodeKeyUsage,
  type Extension,
  readExtensions,
} from "./extension.js";
import { encodeName } from "./name.js";
import {
  encodeNameConstraints,
  type NameConstraintFields,
  parseNameConstraints,
} from "./name-constraints.js";
import { OID } from "./oids.js";
import { encodePem } from "./pem.js";
import { encodeSignatureAlgorithm } from "./signature-algorithm.js";
import { encodeSubjectAlternativeName } from "./subject-alternative-name.js";

const caKeys = generateKeyPairSync("ec", { namedCurve: "P-256" });
const leafKeys = generateKeyPairSync("ec", { namedCurve: "P-256" });
const caName = encodeName([{ type: OID.commonName, value: "Some CA" }]);
const leafName = encodeName([{ type: OID.organizationName, value: "rk8s" }]);
const signatureAlgorithm = encodeSignatureAlgorithm("ecdsa-sha256");

const folder = mkdtempSync(path.join(tmpdir(), "rk8s-constraints-"));
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

function aCa(pathLength: number | undefined, ...extensions: readonly Uint8Array[]): Uint8Array {
  const constraints = encodeBasicConstraints({ isCa: true, pathLength });
  return build(caName, caKeys.publicKey, [constraints, encodeKeyUsage(["keyCertSign"]), ...extensions]);
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

function verifies(ca: Uint8Array, leaf: Uint8Array): string {
  const trust = file("ca.pem", encodePem("CERTIFICATE", ca));
  const input = file("leaf.pem", encodePem("CERTIFICATE", leaf));
  const { stdout, stderr } = spawnSync("openssl", ["verify", "-CAfile", trust, input], { encoding: "utf8" });
  return /: OK|error \d+ at \d depth lookup: ([^\n]*)/.exec(stdout + stderr)?.[1] ?? "ok";
}

function extensionsOf(...encoded: readonly Uint8Array[]): Extension[] {
  return readExtensions(DerReader.over(encodeSequence(...encoded), { code: "CERTIFICATE_INVALID" }));
}

function extensionOf(oid: string, ...parts: readonly Uint8Array[]): Extension[] {
  return [{ oid, critical: false, value: encodeSequence(...parts) }];
}

test("openssl reads a CA with path length 0 and name constraints", () => {
  const der = aCa(
    0,
    encodeNameConstraints({
      permitted: {
        dnsDomains: ["example.com"],
        emails: ["example.com"],
        ipRanges: ["10.1.2.3/8", "2001:db8::/33"],
        uriDomains: [".example.com"],
      },
      excluded: { dnsDomains: ["secret.example.com"] },
    }),
  );
  expect(shown(der, "basicConstraints")).toBe("X509v3 Basic Constraints: critical CA:TRUE, pathlen:0");
  expect(shown(der, "nameConstraints")).toBe(
    "X509v3 Name Constraints: critical Permitted: DNS:example.com email:example.com IP:10.0.0.0/255.0.0.0 IP:2001:DB8:0:0:0:0:0:0/FFFF:FFFF:8000:0:0:0:0:0 URI:.example.com Excluded: DNS:secret.example.com",
  );
  const certificate = parseCertificate(der);
  expect(certificate).toMatchObject({
    isCa: true,
    pathLength: 0,
    unknownCriticalExtensions: [OID.nameConstraints],
  });
  expect(parseNameConstraints(certificate.extensions)?.permitted.ipRanges).toEqual([
    "10.0.0.0/8",
    "2001:db8::/33",
  ]);
});

test.each<{
  name: string;
  constraints: NameConstraintFields;
  names: Parameters<typeof san>[0];
  result: string;
}>([
  {
    name: "a permitted domain",
    constraints: { permitted: { dnsDomains: ["example.com"] } },
    names: { dnsNames: ["a.example.com"] },
    result: "ok",
  },
  {
    name: "another domain",
    constraints: { permitted: { dnsDomains: ["example.com"] } },
    names: { dnsNames: ["example.org"] },
    result: "permitted subtree violation",
  },
  {
    name: "an excluded domain",
    constraints: { excluded: { dnsDomains: ["example.com"] } },
    names: { dnsNames: ["a.example.com"] },
    result: "excluded subtree violation",
  },
  {
    name: "a permitted address",
    constraints: { permitted: { ipRanges: ["10.0.0.0/9"] } },
    names: { ipAddresses: ["10.127.0.1"] },
    result: "ok",
  },
  {
    name: "an address behind the range",
    constraints: { permitted: { ipRanges: ["10.0.0.0/9"] } },
    names: { ipAddresses: ["10.128.0.1"] },
    result: "permitted subtree violation",
  },
  {
    name: "an excluded IPv6 address",
    constraints: { excluded: { ipRanges: ["2001:db8::/32"] } },
    names: { ipAddresses: ["2001:db8::1"] },
    result: "excluded subtree violation",
  },
  {
    name: "all addresses excluded",
    constraints: { excluded: { ipRanges: ["0.0.0.0/0"] } },
    names: { ipAddresses: ["1.2.3.4"] },
    result: "excluded subtree violation",
  },
  {
    name: "another mailbox",
    constraints: { permitted: { emails: ["ops@example.com"] } },
    names: { emails: ["x@example.com"] },
    result: "permitted subtree violation",
  },
  {
    name: "another host in a URI",
    constraints: { permitted: { uriDomains: [".example.com"] } },
    names: { uris: ["https://example.org/x"] },
    result: "permitted subtree violation",
  },
])("openssl applies name constraints: $name", ({ constraints, names, result }) => {
  expect(verifies(aCa(undefined, encodeNameConstraints(constraints)), aLeaf(san(names)))).toBe(result);
});

test("name constraints of any names are read back", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", ".", "-", "@", "1"), maxLength: 20 });
  const v4 = fc.tuple(fc.ipV4(), fc.nat(32)).map(([address, bits]) => `${address}/${bits}`);
  const trees = fc.record({
    dnsDomains: fc.array(text),
    emails: fc.array(text),
    ipRanges: fc.array(v4),
    uriDomains: fc.array(text),
  });
  fc.assert(
    fc.property(trees, trees, (permitted, excluded) => {
      fc.pre([permitted, excluded].some((tree) => Object.values(tree).some((list) => list.length > 0)));
      const encoded = encodeNameConstraints({ permitted, excluded });
      const read = parseNameConstraints(extensionsOf(encoded));
      expect(read?.permitted).toMatchObject({
        dnsDomains: permitted.dnsDomains,
        emails: permitted.emails,
        uriDomains: permitted.uriDomains,
      });
      expect(read?.excluded).toMatchObject({
        dnsDomains: excluded.dnsDomains,
        emails: excluded.emails,
        uriDomains: excluded.uriDomains,
      });
      expect(read?.otherSubtrees).toBe(0);
      expect(encodeNameConstraints(read ?? {})).toEqual(encoded);
    }),
  );
});

test.each([
  {
    name: "no constraint",
    run: () => encodeNameConstraints({ permitted: { dnsDomains: [] }, excluded: {} }),
  },
  {
    name: "an IP range without a prefix",
    run: () => encodeNameConstraints({ permitted: { ipRanges: ["10.0.0.1"] } }),
  },
  {
    name: "a constraint beyond ASCII",
    run: () => encodeNameConstraints({ excluded: { dnsDomains: ["ü"] } }),
  },
])("$name cannot be built", ({ run }) => {
  expect(run).toThrow(TypeError);
});

const subtree = (...parts: readonly Uint8Array[]): Uint8Array =>
  encodeContextConstructed(0, encodeSequence(...parts));
const host = encodeContextPrimitive(2, new Uint8Array());

test.each([
  {
    name: "constraints that are empty lists",
    run: () => parseNameConstraints(extensionOf(OID.nameConstraints, encodeContextConstructed(0))),
  },
  {
    name: "a mask that is no prefix",
    run: () =>
      parseNameConstraints(
        extensionOf(
          OID.nameConstraints,
          subtree(encodeContextPrimitive(7, Uint8Array.of(10, 0, 0, 0, 255, 0, 255, 0))),
        ),
      ),
  },
  {
    name: "an address without a mask",
    run: () =>
      parseNameConstraints(
        extensionOf(OID.nameConstraints, subtree(encodeContextPrimitive(7, Uint8Array.of(10, 0, 0, 0)))),
      ),
  },
  {
    name: "a minimum",
    run: () =>
      parseNameConstraints(
        extensionOf(OID.nameConstraints, subtree(host, encodeContextPrimitive(0, Uint8Array.of(1)))),
      ),
  },
  {
    name: "a maximum",
    run: () =>
      parseNameConstraints(
        extensionOf(OID.nameConstraints, subtree(host, encodeContextPrimitive(1, Uint8Array.of(1)))),
      ),
  },
  {
    name: "1001 constraints",
    run: () =>
      parseNameConstraints(
        extensionOf(
          OID.nameConstraints,
          encodeContextConstructed(0, ...Array.from({ length: 1001 }, () => encodeSequence(host))),
        ),
      ),
  },
])("$name cannot be read", ({ run }) => {
  expect(codeOf(run)).toBe("CERTIFICATE_INVALID");
});

function codeOf(run: () => unknown): string {
  try {
    run();
    return "parsed";
  } catch (error) {
    return error instanceof RksError ? error.code : String(error);
  }
}
