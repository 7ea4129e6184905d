import { type Connection } from "@rk8s/protocol";
import {
  assembleCertificate,
  buildTbsCertificate,
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeName,
  encodeSignatureAlgorithm,
  encodeSubjectAlternativeName,
  OID,
} from "@rk8s/x509";
import { expect, test } from "vitest";
import { aKey, type TestKey } from "../join/testing/a-request.js";
import { identifyPeer } from "./peer-identity.js";
import { aCluster } from "./testing/a-cluster.js";
import { TestPeer, type TestIdentity } from "./testing/test-peer.js";

interface LeafFields {
  readonly name: string;
  readonly uri?: string;
  readonly eku?: readonly string[];
  readonly notAfter?: number;
}

const NOW = Date.parse("2026-01-01T00:00:00Z");
const HOUR = 3_600_000;

/** A leaf whose chain a TLS stack is taken to have accepted; its signature is nobody's. */
function aLeaf(fields: LeafFields, key: TestKey = aKey()): Uint8Array {
  const {
    name,
    uri = `spiffe://test.local/node/${name}`,
    eku = [OID.clientAuth],
    notAfter = NOW + HOUR,
  } = fields;
  const algorithm = encodeSignatureAlgorithm("ecdsa-sha256");
  const san = encodeSubjectAlternativeName({ uris: [uri] });
  const tbs = buildTbsCertificate({
    serialNumber: Uint8Array.of(7),
    signatureAlgorithm: algorithm,
    issuer: encodeName([{ type: OID.commonName, value: "test root" }]),
    notBefore: NOW - HOUR,
    notAfter,
    subject: encodeName([{ type: OID.commonName, value: name }]),
    spki: key.spki,
    extensions: [
      encodeExtension({ oid: OID.subjectAltName, critical: false, value: san }),
      ...(eku.length === 0 ? [] : [encodeExtendedKeyUsage(eku)]),
    ],
  });
  return assembleCertificate(tbs, algorithm, new Uint8Array(64));
}

function presenting(...certificates: Uint8Array[]): Connection {
  return { peerCertificates: certificates } as unknown as Connection;
}

const options = { trustDomain: "test.local", now: NOW };

test("without a certificate it is nobody", () => {
  expect(identifyPeer(presenting(), options)).toEqual({ kind: "nobody" });
});

test("a node's leaf names the node, an operator's the token", () => {
  expect(identifyPeer(presenting(aLeaf({ name: "worker-1" })), options)).toMatchObject({
    kind: "node",
    name: "worker-1",
    serialNumber: "07",
  });
  const operator = aLeaf({ name: "0123456789abcdef", uri: "spiffe://test.local/operator/0123456789abcdef" });
  expect(identifyPeer(presenting(operator), options)).toMatchObject({
    kind: "operator",
    tokenId: "0123456789abcdef",
  });
});

test.each([
  { name: "no EKU", leaf: { eku: [] }, code: "CLIENT_CERTIFICATE_REFUSED" },
  { name: "a server's EKU", leaf: { eku: [OID.serverAuth] }, code: "CLIENT_CERTIFICATE_REFUSED" },
  { name: "two EKUs", leaf: { eku: [OID.clientAuth, OID.serverAuth] }, code: "CLIENT_CERTIFICATE_REFUSED" },
  {
    name: "another trust domain",
    leaf: { uri: "spiffe://other.local/node/worker-1" },
    code: "CLIENT_CERTIFICATE_REFUSED",
  },
  {
    name: "another name in the URI",
    leaf: { uri: "spiffe://test.local/node/worker-2" },
    code: "CLIENT_CERTIFICATE_REFUSED",
  },
  {
    name: "an unknown kind",
    leaf: { uri: "spiffe://test.local/root/worker-1" },
    code: "CLIENT_CERTIFICATE_REFUSED",
  },
  { name: "dates that are over", leaf: { notAfter: NOW - 2000 }, code: "CERTIFICATE_EXPIRED" },
])("a leaf with $name identifies nobody", ({ leaf, code }) => {
  const connection = presenting(aLeaf({ name: "worker-1", ...leaf }));
  expect(() => identifyPeer(connection, options)).toThrow(expect.objectContaining({ code }) as Error);
});

test("what is no certificate is refused", () => {
  expect(() => identifyPeer(presenting(Uint8Array.of(0x30, 0)), options)).toThrow(
    expect.objectContaining({ code: "CLIENT_CERTIFICATE_REFUSED" }) as Error,
  );
});

test.each([
  {
    name: "a node that never joined",
    made: () => aLeaf({ name: "worker-9", notAfter: Date.now() + HOUR }),
    code: "NODE_EVICTED",
  },
  {
    name: "a node's name under another key",
    made: () => aLeaf({ name: "worker-1", notAfter: Date.now() + HOUR }),
    code: "CERTIFICATE_REVOKED",
  },
  {
    name: "an operator of an unknown token",
    made: () =>
      aLeaf({
        name: "0123456789abcdef",
        uri: "spiffe://test.local/operator/0123456789abcdef",
        notAfter: Date.now() + HOUR,
      }),
    code: "CLIENT_CERTIFICATE_REFUSED",
  },
])("a valid chain alone identifies nobody: $name", async ({ made, code }) => {
  await using cluster = await aCluster();
  const { answer } = await TestPeer.join(cluster, { token: await cluster.token(), nodeName: "worker-1" });
  const peer = await TestPeer.dial(cluster, { key: aKey(), answer: { ...answer, leaf: made() } });
  await expect(peer.hello()).rejects.toMatchObject({ code });
  cluster.clock.advance(5_000);
  expect((await peer.end()).by).toBe("peer");
});

test("the server's own certificate is no client's", async () => {
  await using cluster = await aCluster();
  const stolen = (await cluster.stranger()).connection.peerCertificates[0]!;
  const { answer, key } = await TestPeer.join(cluster, {
    token: await cluster.token(),
    nodeName: "worker-1",
  });
  const identity: TestIdentity = { key, answer: { ...answer, leaf: stolen } };
  const peer = await TestPeer.dial(cluster, identity);
  await expect(peer.hello()).rejects.toMatchObject({ code: "CLIENT_CERTIFICATE_REFUSED" });
});
