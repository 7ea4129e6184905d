// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 needs it to be loaded first
import "reflect-metadata";
import { execFileSync, spawnSync } from "node:child_process";
import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  sign,
  webcrypto,
  X509Certificate,
} from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as peculiar from "@peculiar/x509";
import { RksError } from "@rk8s/protocol";
import { memoryStorage, type Storage } from "@rk8s/storage";
import {
  assembleCertificateRequest,
  assertServerLeaf,
  buildCertificateRequestInfo,
  encodeBasicConstraints,
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeKeyUsage,
  encodeName,
  encodePem,
  encodeSignatureAlgorithm,
  encodeSubjectAlternativeName,
  OID,
  parseCertificate,
  parseCertificateRequest,
  parseClientLeaf,
} from "@rk8s/x509";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import type { Operation } from "../vault/backend.js";
import { askBackend } from "../vault/testing/ask-backend.js";
import { ClusterCa } from "./cluster-ca.js";
import { proveClusterRequest, type ProvenRequest } from "./cluster-request.js";

const now = Date.UTC(2026, 5, 1, 12);
const clock = { now: () => now, monotonicMs: () => 0, sleep: () => Promise.resolve() };
const mount = {
  path: "rk8s-pki/",
  type: "pki",
  accessor: "pki_test",
  options: {},
  storagePrefix: "logical/cluster/",
  defaultTtlSeconds: 3600,
  maxTtlSeconds: 86_400,
};

async function aClusterCa(rootTtlSeconds = 86_400): Promise<{ ca: ClusterCa; barrier: Storage }> {
  const barrier = memoryStorage();
  const ca = await ClusterCa.open(mount, barrier, { clock });
  const { writes, wipe } = ca.initialize({
    trustDomain: "rk8s.local",
    rootTtlSeconds,
    commonName: "rk8s cluster root",
  });
  await barrier.transaction([], writes);
  wipe();
  await ca.reload();
  return { ca, barrier };
}

/** RSA keys take a while to make, more so on a busy machine. */
const RSA_TIMEOUT_MS = 30_000;

interface CsrOptions {
  readonly cn?: string;
  readonly extensions?: readonly Uint8Array[];
}

const nodeKey = generateKeyPairSync("ec", { namedCurve: "P-256" });

function proven(csr: Uint8Array): ProvenRequest {
  return proveClusterRequest(parseCertificateRequest(csr));
}

function aCsr(options: CsrOptions = {}): Uint8Array {
  const tbs = buildCertificateRequestInfo({
    subject: encodeName(options.cn === undefined ? [] : [{ type: OID.commonName, value: options.cn }]),
    spki: nodeKey.publicKey.export({ type: "spki", format: "der" }),
    extensions: options.extensions ?? [],
  });
  return assembleCertificateRequest(
    tbs,
    encodeSignatureAlgorithm("ecdsa-sha256"),
    sign("sha256", tbs, nodeKey.privateKey),
  );
}

function names(value: Parameters<typeof encodeSubjectAlternativeName>[0]): Uint8Array {
  return encodeExtension({
    oid: OID.subjectAltName,
    critical: false,
    value: encodeSubjectAlternativeName(value),
  });
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return "accepted";
  } catch (error) {
    return error instanceof RksError ? error.code : String(error);
  }
}

test("a server certificate is what agents expect, and its key is its own", async () => {
  const { ca } = await aClusterCa();
  const prepared = ca.prepareServerCertificate({
    dnsNames: ["RKS.example", "rks-cluster"],
    ipAddresses: ["127.0.0.1", "::1"],
    ttlSeconds: 3600,
  });
  const leaf = assertServerLeaf(prepared.certificate, { dnsName: "rks-cluster", now });
  expect(leaf).toMatchObject({
    dnsNames: ["rks-cluster", "rks.example"],
    ipAddresses: ["127.0.0.1", "::1"],
    uris: [],
    extendedKeyUsage: [OID.serverAuth],
    keyUsage: ["digitalSignature"],
    isCa: false,
    notBefore: now - 3_600_000,
    notAfter: now + 3_600_000,
    serialNumber: prepared.serialNumber,
  });
  expect(leaf.serialNumber).toMatch(/^[4-7][0-9a-f]{39}$/);
  const node = new X509Certificate(prepared.certificate);
  const key = createPrivateKey({ key: Buffer.from(prepared.privateKey), format: "der", type: "pkcs8" });
  expect(node.checkPrivateKey(key)).toBe(true);
  expect(node.verify(new X509Certificate(ca.root).publicKey)).toBe(true);
  expect(prepared.chain).toEqual([ca.root]);
});

test("a node certificate says what the server decided, not what the CSR asked for", async () => {
  const { ca } = await aClusterCa();
  const csr = aCsr({
    cn: "worker-1",
    extensions: [
      names({ ipAddresses: ["10.9.9.9"], dnsNames: ["worker-1.example"], emails: ["x@example.org"] }),
      encodeExtendedKeyUsage([OID.serverAuth, OID.anyExtendedKeyUsage]),
      encodeKeyUsage(["keyEncipherment"]),
    ],
  });
  const prepared = ca.prepareNodeCertificate({
    csr: proven(csr),
    nodeName: "worker-1",
    ttlSeconds: 600,
    now,
  });
  const identity = parseClientLeaf(prepared.certificate, { trustDomain: "rk8s.local", now });
  expect(identity).toMatchObject({ kind: "node", name: "worker-1" });
  expect(identity.certificate).toMatchObject({
    extendedKeyUsage: [OID.clientAuth],
    keyUsage: ["digitalSignature"],
    notBefore: now - 60_000,
    notAfter: now + 600_000,
    dnsNames: [],
    ipAddresses: [],
    emails: [],
  });
  expect(prepared.spki).toEqual(identity.certificate.spki);
});

test("an operator certificate lives 10 minutes at most", async () => {
  const { ca } = await aClusterCa();
  const prepared = ca.prepareOperatorCertificate({
    csr: proven(aCsr()),
    tokenId: "k3y1d",
    ttlSeconds: 86_400,
  });
  expect(parseClientLeaf(prepared.certificate, { trustDomain: "rk8s.local" })).toMatchObject({
    kind: "operator",
    tokenId: "k3y1d",
  });
  expect(prepared.notAfter).toBe(now + 600_000);
});

test("no certificate outlives the root or begins before it", async () => {
  const { ca } = await aClusterCa(30);
  const prepared = ca.prepareServerCertificate({
    dnsNames: [],
    ipAddresses: [],
    ttlSeconds: 86_400,
    now: now + 1500,
  });
  expect(prepared.notAfter).toBe(now + 30_000);
  expect(prepared.notBefore).toBe(now - 3_599_000 + 0);
  expect(
    codeOf(() =>
      ca.prepareServerCertificate({ dnsNames: [], ipAddresses: [], ttlSeconds: 5, now: now + 30_000 }),
    ),
  ).toBe("CERTIFICATE_EXPIRED");
});

test.each<{ name: string; csr: CsrOptions }>([
  { name: "someone else's DNS name", csr: { extensions: [names({ dnsNames: ["worker-1", "worker-2"] })] } },
  { name: "the server's DNS name", csr: { extensions: [names({ dnsNames: ["rks-cluster"] })] } },
  { name: "a DNS name that only begins alike", csr: { extensions: [names({ dnsNames: ["worker-10"] })] } },
  {
    name: "someone else's SPIFFE id",
    csr: { extensions: [names({ uris: ["spiffe://rk8s.local/node/worker-2"] })] },
  },
  {
    name: "an operator's SPIFFE id",
    csr: { extensions: [names({ uris: ["spiffe://rk8s.local/operator/worker-1"] })] },
  },
  { name: "CA:TRUE", csr: { extensions: [encodeBasicConstraints({ isCa: true, pathLength: undefined })] } },
  { name: "the right to sign certificates", csr: { extensions: [encodeKeyUsage(["keyCertSign"])] } },
])("a node's CSR that asks for $name is refused", async ({ csr }) => {
  const { ca } = await aClusterCa();
  const prepare = () =>
    ca.prepareNodeCertificate({ csr: proven(aCsr(csr)), nodeName: "worker-1", ttlSeconds: 600 });
  expect(codeOf(prepare)).toBe("CSR_INVALID");
});

test("a CSR with a changed byte is refused, whichever byte it is", async () => {
  const { ca } = await aClusterCa();
  const csr = aCsr({ cn: "worker-1" });
  for (let i = 0; i < csr.length; i++) {
    const changed = csr.slice();
    changed[i] = (changed[i] ?? 0) ^ 1;
    const prepare = () =>
      ca.prepareNodeCertificate({ csr: proven(changed), nodeName: "worker-1", ttlSeconds: 600 });
    expect(codeOf(prepare)).toMatch(/^(CSR_INVALID|KEY_TOO_WEAK)$/);
  }
});

test("preparing commits nothing; the record is in the writes and can be read by its serial number afterwards", async () => {
  const { ca, barrier } = await aClusterCa();
  const before = await barrier.list("");
  const prepared = ca.prepareNodeCertificate({ csr: proven(aCsr()), nodeName: "worker-1", ttlSeconds: 600 });
  expect((await barrier.list("")).entries).toEqual(before.entries);
  const path = `cert/${prepared.serialNumber.toUpperCase().match(/../g)?.join("-")}`;
  await expect(askBackend(ca, "read", path)).resolves.toBeUndefined();
  await barrier.transaction([], prepared.writes);
  const answer = await askBackend(ca, "read", path);
  const pem = encodePem("CERTIFICATE", prepared.certificate).trimEnd();
  expect(answer?.data).toMatchObject({ certificate: pem, revocation_time: 0, revocation_time_rfc3339: "" });
});

test.each<{ operation: Exclude<Operation, "help">; path: string }>([
  { operation: "update", path: "roles/rkl-node" },
  { operation: "create", path: "roles/mine" },
  { operation: "delete", path: "roles/rkl-node" },
  { operation: "update", path: "issue/rkl-node" },
  { operation: "update", path: "issue/rks-node" },
  { operation: "update", path: "sign/rkl-node" },
  { operation: "update", path: "sign-verbatim" },
  { operation: "update", path: "sign-verbatim/rkl-node" },
  { operation: "update", path: "root/generate/internal" },
  { operation: "update", path: "root/generate/exported" },
  { operation: "update", path: "root/sign-intermediate" },
  { operation: "update", path: "root/sign-self-issued" },
  { operation: "delete", path: "root" },
  { operation: "update", path: "config/ca" },
  { operation: "update", path: "issuers/import/bundle" },
  { operation: "update", path: "intermediate/set-signed" },
  { operation: "update", path: "keys/import" },
  { operation: "update", path: "root/rotate/internal" },
  { operation: "update", path: "root/generate/existing" },
  { operation: "update", path: "root/replace" },
  { operation: "update", path: "intermediate/generate/internal" },
  { operation: "update", path: "intermediate/cross-sign" },
  { operation: "update", path: "issuers/generate/root/internal" },
  { operation: "update", path: "issuers/generate/intermediate/exported" },
  { operation: "update", path: "issuers/import/cert" },
  { operation: "update", path: "issuer/default" },
  { operation: "update", path: "issuer/default/issue/rkl-node" },
  { operation: "update", path: "issuer/default/sign/rkl-node" },
  { operation: "update", path: "issuer/default/sign-verbatim" },
  { operation: "update", path: "issuer/default/sign-intermediate" },
  { operation: "update", path: "issuer/default/sign-self-issued" },
  { operation: "update", path: "issuer/default/revoke" },
  { operation: "update", path: "keys/generate/exported" },
  { operation: "update", path: "key/default" },
  { operation: "update", path: "config/issuers" },
  { operation: "update", path: "config/keys" },
  { operation: "update", path: "config/urls" },
  { operation: "update", path: "config/cluster" },
  { operation: "update", path: "config/crl" },
  { operation: "update", path: "revoke" },
  { operation: "update", path: "revoke-with-key" },
  { operation: "update", path: "tidy" },
  { operation: "patch", path: "issuer/default" },
  { operation: "patch", path: "roles/rkl-node" },
  { operation: "delete", path: "issuer/default" },
  { operation: "delete", path: "key/default" },
  { operation: "update", path: "ca" },
])("$operation of $path is refused even to root", async ({ operation, path }) => {
  const { ca, barrier } = await aClusterCa();
  const before = await barrier.list("");
  await expect(askBackend(ca, operation, path)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  expect((await barrier.list("")).entries).toEqual(before.entries);
});

test("roles can be listed and read, the CA in every form; nothing else is there", async () => {
  const { ca } = await aClusterCa();
  const read = async (path: string) => (await askBackend(ca, "read", path))?.data;
  const pem = encodePem("CERTIFICATE", ca.root).trimEnd();
  await expect(askBackend(ca, "list", "roles/")).resolves.toEqual({
    data: { keys: ["rks-node", "rkl-node", "xline-node", "operator"] },
  });
  expect(await read("roles/rkl-node")).toMatchObject({
    ext_key_usage_oids: [OID.clientAuth],
    not_before_duration: 60,
  });
  expect(await read("roles/mine")).toBeUndefined();
  expect(await askBackend(ca, "read", "ca")).toMatchObject({
    raw: { body: ca.root, contentType: "application/pkix-cert" },
  });
  expect(await askBackend(ca, "read", "ca/pem")).toMatchObject({
    raw: { body: pem },
    data: { certificate: pem },
  });
  expect(await askBackend(ca, "read", "ca_chain")).toMatchObject({
    raw: { body: pem },
    data: { ca_chain: [pem] },
  });
  expect(await read("cert/ca")).toMatchObject({ certificate: pem });
  const rawPath = `cert/${parseCertificate(ca.root).serialNumber}/raw`;
  expect(await askBackend(ca, "read", rawPath)).toMatchObject({ raw: { body: ca.root } });
  expect(await read("cert/..%2f..%2fissuer/key")).toBeUndefined();
  expect(await read("issuer/key")).toBeUndefined();
  expect(JSON.stringify(await read("roles/operator"))).not.toContain("PRIVATE");
});

test("before it has a root the CA says so; a second root is refused; a reopened CA has the same root", async () => {
  const empty = await ClusterCa.open(mount, memoryStorage(), { clock });
  expect(empty.initialized).toBe(false);
  expect(codeOf(() => empty.root)).toBe("VAULT_NOT_INITIALIZED");
  expect(
    codeOf(() => empty.prepareNodeCertificate({ csr: proven(aCsr()), nodeName: "w", ttlSeconds: 5 })),
  ).toBe("VAULT_NOT_INITIALIZED");
  const { ca, barrier } = await aClusterCa();
  const again = { trustDomain: "rk8s.local", rootTtlSeconds: 60, commonName: "x" };
  expect(codeOf(() => ca.initialize(again))).toBe("ALREADY_EXISTS");
  expect(codeOf(() => empty.initialize({ ...again, trustDomain: "a/b" }))).toBe("INPUT_INVALID");
  const reopened = await ClusterCa.open(mount, barrier, { clock });
  expect(reopened.root).toEqual(ca.root);
  expect(reopened.trustDomain).toBe("rk8s.local");
  const spki = new X509Certificate(ca.root).publicKey.export({ type: "spki", format: "der" });
  expect(Buffer.from(reopened.rootSpkiSha256)).toEqual(createHash("sha256").update(spki).digest());
});

test("wiping a prepared root leaves no key among its writes", async () => {
  const ca = await ClusterCa.open(mount, memoryStorage(), { clock });
  const { writes, wipe } = ca.initialize({ trustDomain: "rk8s.local", rootTtlSeconds: 60, commonName: "x" });
  wipe();
  const key = writes.find((write) => write.key.endsWith("issuer/key"));
  expect(key?.type === "put" && key.value.every((byte) => byte === 0)).toBe(true);
});

test("names that no certificate can carry are refused with a code", async () => {
  const { ca } = await aClusterCa();
  const bad = { ttlSeconds: 60, dnsNames: [], ipAddresses: [] };
  expect(codeOf(() => ca.prepareServerCertificate({ ...bad, ipAddresses: ["not-an-ip"] }))).toBe(
    "INPUT_INVALID",
  );
  for (const name of ["*.example", "*", "a b", "", "10.0.0.1", "x_y.example", `${"a".repeat(64)}.example`]) {
    expect(codeOf(() => ca.prepareServerCertificate({ ...bad, dnsNames: [name] }))).toBe("INPUT_INVALID");
  }
  const { certificate } = ca.prepareServerCertificate({ ...bad, dnsNames: ["Bücher.example"] });
  expect(parseCertificate(certificate).dnsNames).toEqual(["rks-cluster", "xn--bcher-kva.example"]);
  for (const ttlSeconds of [0, -5, 0.5]) {
    expect(ca.prepareServerCertificate({ ...bad, ttlSeconds }).notAfter).toBe(now + 1000);
  }
  expect(codeOf(() => ca.prepareServerCertificate({ ...bad, ttlSeconds: Number.NaN }))).toBe("INPUT_INVALID");
});

test.each([
  { name: "P-256", algorithm: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } },
  { name: "P-384", algorithm: { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" } },
  { name: "Ed25519", algorithm: { name: "Ed25519" } },
  {
    name: "RSA-2048",
    algorithm: {
      name: "RSASSA-PKCS1-v1_5",
      modulusLength: 2048,
      publicExponent: Uint8Array.of(1, 0, 1),
      hash: "SHA-256",
    },
  },
])(
  "a CSR of @peculiar/x509 with $name is signed, and @peculiar/x509 verifies the certificate",
  async ({ algorithm }) => {
    peculiar.cryptoProvider.set(webcrypto);
    const keys = await webcrypto.subtle.generateKey(algorithm as webcrypto.EcKeyGenParams, true, [
      "sign",
      "verify",
    ]);
    const csr = await peculiar.Pkcs10CertificateRequestGenerator.create({
      name: "CN=worker-1",
      keys,
      signingAlgorithm: algorithm,
    });
    const { ca } = await aClusterCa();
    const prepared = ca.prepareNodeCertificate({
      csr: proven(new Uint8Array(csr.rawData)),
      nodeName: "worker-1",
      ttlSeconds: 600,
    });
    const certificate = new peculiar.X509Certificate(Buffer.from(prepared.certificate));
    const root = new peculiar.X509Certificate(Buffer.from(ca.root));
    expect(certificate.subject).toBe("CN=worker-1");
    await expect(certificate.verify({ publicKey: root, signatureOnly: true })).resolves.toBe(true);
    expect(certificate.getExtension(peculiar.SubjectAlternativeNameExtension)?.names.toJSON()).toEqual([
      { type: "url", value: "spiffe://rk8s.local/node/worker-1" },
    ]);
  },
  RSA_TIMEOUT_MS,
);

test("a CSR changed in any way is refused with a code", async () => {
  const { ca } = await aClusterCa();
  const csr = aCsr({
    cn: "worker-1",
    extensions: [names({ dnsNames: ["worker-1"] }), encodeKeyUsage(["digitalSignature"])],
  });
  const index = fc.nat(csr.length - 1);
  fc.assert(
    fc.property(index, index, fc.uint8Array({ maxLength: 20 }), (i, j, middle) => {
      const changed = Buffer.concat([csr.subarray(0, Math.min(i, j)), middle, csr.subarray(Math.max(i, j))]);
      fc.pre(!changed.equals(csr));
      const prepare = () =>
        ca.prepareNodeCertificate({ csr: proven(changed), nodeName: "worker-1", ttlSeconds: 600 });
      expect(codeOf(prepare)).toMatch(/^(CSR_INVALID|KEY_TOO_WEAK)$/);
    }),
    { numRuns: 500 },
  );
});

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;
const skipped = hasOpenssl ? "" : "SKIPPED (needs openssl): ";

test.skipIf(!hasOpenssl)(`${skipped}openssl verify -x509_strict accepts what was issued`, async () => {
  const { ca } = await aClusterCa();
  const server = ca.prepareServerCertificate({
    dnsNames: ["rks.example"],
    ipAddresses: ["10.0.0.1"],
    ttlSeconds: 3600,
  });
  const node = ca.prepareNodeCertificate({ csr: proven(aCsr()), nodeName: "worker-1", ttlSeconds: 3600 });
  const folder = mkdtempSync(join(tmpdir(), "cluster-ca-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = (name: string, der: Uint8Array): string => {
    const path = join(folder, name);
    writeFileSync(path, encodePem("CERTIFICATE", der));
    return path;
  };
  const root = file("root.pem", ca.root);
  const verify = (purpose: string, leaf: string): string =>
    execFileSync(
      "openssl",
      ["verify", "-x509_strict", "-attime", String(now / 1000), "-purpose", purpose, "-CAfile", root, leaf],
      { encoding: "utf8" },
    );
  expect(verify("sslserver", file("server.pem", server.certificate))).toContain(": OK");
  expect(verify("sslclient", file("node.pem", node.certificate))).toContain(": OK");
});
