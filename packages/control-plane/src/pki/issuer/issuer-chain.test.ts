import { generateKeyPairSync, type KeyObject } from "node:crypto";
import {
  encodeBasicConstraints,
  encodeKeyUsage,
  encodeName,
  OID,
  parseCertificate,
  type Certificate,
} from "@rk8s/x509";
import { expect, test } from "vitest";
import { CertificateAuthority, selfSign } from "../certificate-authority.js";
import type { Issuer } from "./issuer.js";
import { buildChain, isIssuedBy, isSelfSigned } from "./issuer-chain.js";

const extensions = [
  encodeBasicConstraints({ isCa: true, pathLength: undefined }),
  encodeKeyUsage(["keyCertSign", "cRLSign"]),
];
const NOW = Date.UTC(2026, 0, 1);

/** A name and a key, which several certificates can be for. */
interface Ca {
  readonly subject: Uint8Array;
  readonly key: KeyObject;
  readonly spki: Uint8Array;
}

function aCa(name: string): Ca {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    subject: encodeName([{ type: OID.commonName, value: name }]),
    key: privateKey,
    spki: publicKey.export({ type: "spki", format: "der" }),
  };
}

function selfSigned(ca: Ca, years = 10): Certificate {
  const { subject, spki } = ca;
  const fields = { subject, spki, notBefore: NOW, notAfter: NOW + years * 31_536_000_000, extensions };
  return parseCertificate(selfSign(ca.key, fields).der);
}

function signed(ca: Ca, by: Ca): Certificate {
  const authority = new CertificateAuthority(selfSigned(by), by.key);
  const { subject, spki } = ca;
  const fields = { subject, spki, notBefore: NOW, notAfter: NOW + 31_536_000_000, extensions };
  return parseCertificate(authority.sign(fields).der);
}

function anIssuer(id: string, certificate: Certificate, manualChain: readonly string[] = []): Issuer {
  return {
    id,
    sequence: 1,
    name: "",
    keyId: "",
    certificate,
    leafNotAfterBehavior: "err",
    usage: [],
    manualChain,
    revocationSignatureAlgorithm: "",
    accessUrls: undefined,
    revokedAtMs: 0,
  };
}

function chainOf(id: string, issuers: readonly Issuer[]): readonly string[] {
  const known = new Map(issuers.map((issuer) => [issuer.id, issuer]));
  const chain = buildChain(known.get(id)!, known, (child, parent) =>
    isIssuedBy(child.certificate, parent.certificate),
  );
  return chain.map((link) => link.id);
}

const [a, b, c, d] = ["A", "B", "C", "D"].map(aCa) as [Ca, Ca, Ca, Ca];

test("a chain goes from the issuer to the root, whatever order they came in", () => {
  const issuers = [
    anIssuer("root", selfSigned(a)),
    anIssuer("lower", signed(c, b)),
    anIssuer("upper", signed(b, a)),
    anIssuer("other", selfSigned(d)),
  ];
  expect(chainOf("lower", issuers)).toEqual(["lower", "upper", "root"]);
  expect(chainOf("lower", issuers.toReversed())).toEqual(["lower", "upper", "root"]);
  expect(chainOf("root", issuers)).toEqual(["root"]);
});

test("a chain whose root is not known ends where knowledge ends", () => {
  expect(chainOf("lower", [anIssuer("lower", signed(c, b)), anIssuer("upper", signed(b, a))])).toEqual([
    "lower",
    "upper",
  ]);
});

test("of several ways the shortest to a root comes first, every other ancestor after it", () => {
  const issuers = [
    anIssuer("b-by-a", signed(b, a)),
    anIssuer("a", selfSigned(a)),
    anIssuer("b", selfSigned(b)),
    anIssuer("lower", signed(c, b)),
  ];
  expect(chainOf("lower", issuers)).toEqual(["lower", "b", "b-by-a", "a"]);
  expect(chainOf("b", issuers)).toEqual(["b", "b-by-a", "a"]);
  expect(chainOf("b-by-a", issuers)).toEqual(["b-by-a", "a"]);
});

test("two CAs that signed each other are a circle, and each chain has both once", () => {
  const circle = [anIssuer("a-by-b", signed(a, b)), anIssuer("b-by-a", signed(b, a))];
  expect(chainOf("a-by-b", circle)).toEqual(["a-by-b", "b-by-a"]);
  const rooted = [...circle, anIssuer("a", selfSigned(a)), anIssuer("leaf-ca", signed(c, b))];
  expect(chainOf("leaf-ca", rooted)).toEqual(["leaf-ca", "b-by-a", "a", "a-by-b"]);
});

test("of two roots of one key the one that lasts longer comes first", () => {
  const issuers = [
    anIssuer("short", selfSigned(a, 1)),
    anIssuer("long", selfSigned(a, 20)),
    anIssuer("lower", signed(b, a)),
  ];
  expect(chainOf("lower", issuers)).toEqual(["lower", "long", "short"]);
});

test("the same name with another key is no parent", () => {
  const impostor = { ...aCa("A") };
  const issuers = [anIssuer("lower", signed(b, a)), anIssuer("impostor", selfSigned(impostor))];
  expect(chainOf("lower", issuers)).toEqual(["lower"]);
});

test("a manual chain is taken as it is, without what is gone", () => {
  const issuers = [
    anIssuer("lower", signed(b, a), ["lower", "gone", "d"]),
    anIssuer("a", selfSigned(a)),
    anIssuer("d", selfSigned(d)),
  ];
  expect(chainOf("lower", issuers)).toEqual(["lower", "d"]);
});

test("self-signed is who names itself and signed itself", () => {
  expect(isSelfSigned(selfSigned(a))).toBe(true);
  expect(isSelfSigned(signed(a, b))).toBe(false);
  // Self-issued with another key: the name is the same, the signature is not its own.
  expect(isSelfSigned(signed(a, { ...aCa("A") }))).toBe(false);
});
