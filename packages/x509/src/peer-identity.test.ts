import { generateKeyPairSync, sign } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { assembleCertificate, buildTbsCertificate } from "./certificate.js";
import {
  encodeBasicConstraints,
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeKeyUsage,
  type KeyUsage,
} from "./extension.js";
import { encodeName, type NameAttribute } from "./name.js";
import { OID } from "./oids.js";
import { assertServerLeaf, parseClientLeaf, parseNodeLeaf } from "./peer-identity.js";
import { encodeSignatureAlgorithm } from "./signature-algorithm.js";
import { encodeSubjectAlternativeName } from "./subject-alternative-name.js";

interface LeafOptions {
  readonly cn?: string;
  readonly subject?: readonly NameAttribute[];
  readonly dns?: readonly string[];
  readonly uris?: readonly string[];
  readonly ips?: readonly string[];
  readonly eku?: readonly string[] | undefined;
  readonly ku?: readonly KeyUsage[];
  readonly ca?: boolean;
  readonly extra?: readonly Uint8Array[];
}

const notBefore = Date.UTC(2026, 0, 1);
const notAfter = Date.UTC(2026, 0, 2);
const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const node1 = { cn: "worker-1", uris: ["spiffe://rk8s.local/node/worker-1"], eku: [OID.clientAuth] };
const server = { cn: "rks-cluster", dns: ["rks-cluster", "rks.example"], eku: [OID.serverAuth] };

function aLeaf(options: LeafOptions): Uint8Array {
  const subject =
    options.subject ?? (options.cn === undefined ? [] : [{ type: OID.commonName, value: options.cn }]);
  const names = { dnsNames: options.dns ?? [], uris: options.uris ?? [], ipAddresses: options.ips ?? [] };
  const hasNames = Object.values(names).some((list) => list.length > 0);
  const algorithm = encodeSignatureAlgorithm("ed25519");
  const tbs = buildTbsCertificate({
    serialNumber: Uint8Array.of(7),
    signatureAlgorithm: algorithm,
    issuer: encodeName([{ type: OID.commonName, value: "root" }]),
    notBefore,
    notAfter,
    subject: encodeName(subject),
    spki: publicKey.export({ type: "spki", format: "der" }),
    extensions: [
      encodeBasicConstraints({ isCa: options.ca ?? false, pathLength: undefined }),
      ...(options.ku === undefined ? [] : [encodeKeyUsage(options.ku)]),
      ...(options.eku === undefined ? [] : [encodeExtendedKeyUsage(options.eku)]),
      ...(hasNames
        ? [
            encodeExtension({
              oid: OID.subjectAltName,
              critical: false,
              value: encodeSubjectAlternativeName(names),
            }),
          ]
        : []),
      ...(options.extra ?? []),
    ],
  });
  return assembleCertificate(tbs, algorithm, sign(null, tbs, privateKey));
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return "accepted";
  } catch (error) {
    return error instanceof RksError ? error.code : String(error);
  }
}

test("a server's leaf with the expected name is accepted", () => {
  const certificate = assertServerLeaf(aLeaf(server), { dnsName: "rks-cluster", now: notBefore });
  expect(certificate.serialNumber).toBe("07");
});

test.each<{ name: string; leaf: LeafOptions; code: string }>([
  { name: "no EKU", leaf: { ...server, eku: undefined }, code: "SERVER_UNTRUSTED" },
  { name: "clientAuth", leaf: { ...server, eku: [OID.clientAuth] }, code: "SERVER_UNTRUSTED" },
  { name: "both EKUs", leaf: { ...server, eku: [OID.serverAuth, OID.clientAuth] }, code: "SERVER_UNTRUSTED" },
  { name: "any EKU", leaf: { ...server, eku: [OID.anyExtendedKeyUsage] }, code: "SERVER_UNTRUSTED" },
  { name: "CA:TRUE", leaf: { ...server, ca: true }, code: "SERVER_UNTRUSTED" },
  {
    name: "keyCertSign",
    leaf: { ...server, ku: ["keyCertSign", "digitalSignature"] },
    code: "SERVER_UNTRUSTED",
  },
  { name: "a key that may not sign", leaf: { ...server, ku: ["keyAgreement"] }, code: "SERVER_UNTRUSTED" },
  { name: "another name", leaf: { ...server, cn: "other", dns: ["other"] }, code: "SERVER_NAME_MISMATCH" },
  { name: "the name in the CN alone", leaf: { ...server, dns: [] }, code: "SERVER_NAME_MISMATCH" },
  { name: "another CN", leaf: { ...server, cn: "other" }, code: "SERVER_NAME_MISMATCH" },
  { name: "a wildcard", leaf: { ...server, cn: "*", dns: ["*"] }, code: "SERVER_NAME_MISMATCH" },
  { name: "the name in capitals", leaf: { ...server, dns: ["RKS-CLUSTER"] }, code: "SERVER_NAME_MISMATCH" },
  { name: "no CN", leaf: { dns: ["rks-cluster"], eku: [OID.serverAuth] }, code: "accepted" },
  {
    name: "an unknown critical extension",
    leaf: {
      ...server,
      extra: [encodeExtension({ oid: "1.2.3", critical: true, value: Uint8Array.of(5, 0) })],
    },
    code: "SERVER_UNTRUSTED",
  },
])("a server's leaf with $name: $code", ({ leaf, code }) => {
  expect(codeOf(() => assertServerLeaf(aLeaf(leaf), { dnsName: "rks-cluster" }))).toBe(code);
});

test("a client's leaf names a node or an operator", () => {
  const operator = { cn: "t0k3n", uris: ["spiffe://rk8s.local/operator/t0k3n"], eku: [OID.clientAuth] };
  expect(parseClientLeaf(aLeaf(node1), { trustDomain: "rk8s.local" })).toMatchObject({
    kind: "node",
    name: "worker-1",
  });
  expect(parseNodeLeaf(aLeaf(node1), { trustDomain: "rk8s.local", now: notAfter })).toMatchObject({
    name: "worker-1",
  });
  expect(parseClientLeaf(aLeaf(operator), { trustDomain: "rk8s.local" })).toMatchObject({
    kind: "operator",
    tokenId: "t0k3n",
  });
  expect(codeOf(() => parseNodeLeaf(aLeaf(operator), { trustDomain: "rk8s.local" }))).toBe(
    "CLIENT_CERTIFICATE_REFUSED",
  );
});

test.each<{ name: string; leaf: LeafOptions }>([
  { name: "no EKU", leaf: { ...node1, eku: undefined } },
  { name: "serverAuth", leaf: { ...node1, eku: [OID.serverAuth] } },
  { name: "both EKUs", leaf: { ...node1, eku: [OID.clientAuth, OID.serverAuth] } },
  { name: "CA:TRUE", leaf: { ...node1, ca: true } },
  { name: "no URI", leaf: { ...node1, uris: [] } },
  { name: "two URIs", leaf: { ...node1, uris: [...node1.uris, "spiffe://rk8s.local/node/worker-2"] } },
  { name: "another trust domain", leaf: { ...node1, uris: ["spiffe://other.local/node/worker-1"] } },
  {
    name: "a trust domain that goes on",
    leaf: { ...node1, uris: ["spiffe://rk8s.local.evil/node/worker-1"] },
  },
  { name: "another kind", leaf: { ...node1, uris: ["spiffe://rk8s.local/pod/worker-1"] } },
  { name: "a deeper path", leaf: { ...node1, uris: ["spiffe://rk8s.local/node/worker-1/x"] } },
  { name: "an empty name", leaf: { ...node1, cn: "", uris: ["spiffe://rk8s.local/node/"] } },
  { name: "a name of dots", leaf: { ...node1, cn: "..", uris: ["spiffe://rk8s.local/node/.."] } },
  { name: "a percent-encoded name", leaf: { ...node1, cn: "%77", uris: ["spiffe://rk8s.local/node/%77"] } },
  { name: "another CN", leaf: { ...node1, cn: "worker-2" } },
  { name: "no CN", leaf: { uris: node1.uris, eku: node1.eku } },
  { name: "a DNS name besides", leaf: { ...node1, dns: ["worker-1"] } },
  { name: "an IP address besides", leaf: { ...node1, ips: ["10.0.0.1"] } },
  {
    name: "two CNs",
    leaf: {
      ...node1,
      subject: [
        { type: OID.commonName, value: "worker-1" },
        { type: OID.commonName, value: "worker-1" },
      ],
    },
  },
  {
    name: "an organisation besides the CN",
    leaf: {
      ...node1,
      subject: [
        { type: OID.organizationName, value: "x" },
        { type: OID.commonName, value: "worker-1" },
      ],
    },
  },
])("a client's leaf with $name is refused", ({ leaf }) => {
  expect(codeOf(() => parseClientLeaf(aLeaf(leaf), { trustDomain: "rk8s.local" }))).toBe(
    "CLIENT_CERTIFICATE_REFUSED",
  );
});

test.each([
  { name: "before its first second", now: notBefore - 1, code: "CERTIFICATE_EXPIRED" },
  { name: "in its first millisecond", now: notBefore, code: "accepted" },
  { name: "in its last second", now: notAfter + 999, code: "accepted" },
  { name: "after its last second", now: notAfter + 1000, code: "CERTIFICATE_EXPIRED" },
])("a client's leaf $name: $code", ({ now, code }) => {
  expect(codeOf(() => parseClientLeaf(aLeaf(node1), { trustDomain: "rk8s.local", now }))).toBe(code);
});

test("bytes that are no certificate are refused with the side's own code", () => {
  expect(codeOf(() => assertServerLeaf(Uint8Array.of(1, 2), { dnsName: "rks-cluster" }))).toBe(
    "SERVER_UNTRUSTED",
  );
  expect(codeOf(() => parseClientLeaf(Uint8Array.of(), { trustDomain: "rk8s.local" }))).toBe(
    "CLIENT_CERTIFICATE_REFUSED",
  );
});
