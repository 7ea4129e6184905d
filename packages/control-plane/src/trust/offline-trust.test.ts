import { silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { parseCertificate, parseCertificateRequest } from "@rk8s/x509";
import { expect, test } from "vitest";
import { aClusterCa, anOfflineClusterCa } from "../join/testing/a-cluster-ca.js";
import { CertificateAuthority } from "../pki/certificate-authority.js";
import type { RotationStep } from "../pki/cluster-rotation.js";
import { createFastKeyPair } from "../pki/key-pair.js";
import { encodeLeafExtensions } from "../pki/leaf-extensions.js";
import { type AuthorityFields, OfflineRoot } from "../pki/testing/offline-root.js";
import { actor, aCluster, type TestCluster } from "../server/testing/a-cluster.js";
import { TestPeer } from "../server/testing/test-peer.js";
import { FaultyStorage } from "../join/testing/faulty-storage.js";
import { UNSHARED } from "../vault/members/sharing.js";
import type { StepOptions } from "./ca-rotation.js";
import { assertIssuerCounts } from "./client-issuer.js";
import { type IntermediateFiles, reviveIntermediate } from "./intermediate-revival.js";
import { Trust } from "./trust.js";

const DAY_MS = 86_400_000;

interface OfflineCluster {
  readonly root: OfflineRoot;
  readonly cluster: TestCluster;
}

async function anOfflineCluster(): Promise<OfflineCluster> {
  const clock = new FakeClock();
  const storage = new FaultyStorage();
  const root = new OfflineRoot(clock.now());
  const ca = await anOfflineClusterCa(storage, clock, root);
  return { root, cluster: await aCluster({ clock, storage, ca }) };
}

type Taken = ReturnType<TestCluster["cluster"]["ca"]["step"]>;

async function take(
  { cluster }: TestCluster,
  step: RotationStep,
  options: Omit<StepOptions, "actor"> = {},
): Taken {
  return cluster.ca.step(step, { ...options, ...actor });
}

/** The request that is pending, DER. */
async function request({ cluster, ca }: TestCluster): Promise<Uint8Array> {
  const { csr } = await cluster.ca.request(actor);
  expect(csr).toMatch(/^-----BEGIN CERTIFICATE REQUEST-----\n/);
  return (await ca.pendingRequest())!.csr;
}

async function renew({ root, cluster }: OfflineCluster, fields: AuthorityFields = {}): Taken {
  return take(cluster, "renew", { certificates: root.answer(await request(cluster), fields) });
}

test("the status names the intermediates, and warns when the present one nears its end", async () => {
  const made = await anOfflineCluster();
  await using cluster = made.cluster;
  const now = cluster.clock.now();
  expect(await cluster.cluster.ca.status()).toMatchObject({
    phase: "steady",
    generation: 0,
    warnings: [],
    next: expect.stringContaining("rks ca renew"),
    roots: [{ number: 1, standing: "active", intermediates: [{ standing: "active" }] }],
  });
  const status = await renew(made, { notAfter: now + 20_000 });
  expect(status.roots[0]!.intermediates.map(({ standing }) => standing)).toEqual(["active", "former"]);
  expect(status.warnings).toEqual([expect.stringContaining("rks ca csr")]);
  expect(cluster.cluster.figures().intermediateNotAfter).toBe(Math.floor((now + 20_000) / 1000) * 1000);
  const recorded = cluster.audit.lines.map(({ operation }) => operation);
  expect(recorded).toEqual(expect.arrayContaining(["ca.csr", "ca.renew"]));
});

test("a node hears nothing of a new intermediate, and its next certificate is signed by it", async () => {
  const made = await anOfflineCluster();
  await using cluster = made.cluster;
  const node = await cluster.registeredNode("worker-1");
  expect(node.identity!.answer.chain).toHaveLength(2);
  const former = parseCertificate(node.identity!.answer.chain[0]!);
  await renew(made);
  expect(cluster.cluster.figures()).toMatchObject({ trustGeneration: 0, nodesBehindTrust: 0 });
  const next = await TestPeer.dial(cluster, await node.renew());
  await next.hello();
  await next.register();
  const present = parseCertificate(next.identity!.answer.chain[0]!);
  expect(present.serialNumber).not.toBe(former.serialNumber);
  expect(next.identity!.answer.trustBundle).toEqual([made.root.certificate.der]);
});

test("a tainted intermediate is told to every node, which renews; an operator of it is refused", async () => {
  const made = await anOfflineCluster();
  await using cluster = made.cluster;
  const node = await cluster.registeredNode("worker-1");
  const away = await cluster.node("worker-2");
  const operator = await cluster.operator();
  await renew(made);
  const status = await take(cluster, "taint");
  expect(status).toMatchObject({ phase: "steady", generation: 1, tokensRevoked: 0 });
  expect(status.withOldCertificate).toEqual(["worker-1", "worker-2"]);
  const told = await node.acknowledge();
  const refusedIssuers = cluster.ca.trust().refusedIssuers.map((one) => Uint8Array.from(one));
  expect(told).toMatchObject({ type: "TrustBundle", generation: 1, renew: true });
  expect("refusedIssuers" in told && told.refusedIssuers?.map((one) => Uint8Array.from(one))).toEqual(
    refusedIssuers,
  );

  const next = await TestPeer.dial(cluster, await node.renew());
  await next.hello();
  await next.register();
  expect(next.identity!.answer.refusedIssuers).toHaveLength(1);
  await away.hello();
  await away.register();
  expect(await away.acknowledge()).toMatchObject({ type: "TrustBundle", renew: true });

  const late = await TestPeer.dial(cluster, operator.identity);
  await expect(late.hello()).rejects.toMatchObject({ code: "CLIENT_CERTIFICATE_REFUSED" });
});

test("only what an intermediate of this cluster has signed counts, whatever else the root leads to", async () => {
  const made = await anOfflineCluster();
  await using cluster = made.cluster;
  const { roots } = cluster.ca;
  const node = await cluster.registeredNode("worker-1");
  expect(() => assertIssuerCounts(node.identity!.answer.leaf, "node", roots)).not.toThrow();

  const { privateKey, spki } = createFastKeyPair({ type: "ec", bits: 256 });
  const csr = parseCertificateRequest(await request(cluster));
  const authority = parseCertificate(made.root.sign(csr.der, { spki, commonName: "another department" }));
  const leaf = parseCertificate(node.identity!.answer.leaf);
  const names = { uris: leaf.uris };
  const forged = new CertificateAuthority(authority, privateKey).sign({
    subject: leaf.subject.der,
    spki: leaf.spki,
    notBefore: leaf.notBefore,
    notAfter: leaf.notAfter,
    extensions: encodeLeafExtensions(
      {
        keyUsage: ["digitalSignature"],
        extendedKeyUsage: leaf.extendedKeyUsage!,
        names,
        basicConstraints: true,
      },
      leaf.subject.der,
    ),
  });
  for (const role of ["node", "operator"] as const) {
    expect(() => assertIssuerCounts(forged.der, role, roots)).toThrow(
      expect.objectContaining({ code: "CLIENT_CERTIFICATE_REFUSED" }),
    );
  }
});

test("of several rks, one that has not heard of an intermediate looks before it refuses", async () => {
  const made = await anOfflineCluster();
  await using cluster = made.cluster;
  const { storage, clock, audit } = cluster;
  const clusterCa = await aClusterCa(storage, clock);
  const trustOf = (isShared: boolean): Trust =>
    new Trust(
      { rootTtlSeconds: 60, rootRotation: "manual" },
      {
        barrier: storage,
        clusterCa,
        audit,
        clock,
        logger: silentLogger,
        links: { current: () => undefined, inUse: noLinks, close: () => undefined },
        joinTokens: { revoke: () => Promise.resolve() },
        sharing: { ...UNSHARED, members: { ...UNSHARED.members, isShared } },
      },
    );
  await renew(made);
  const { leaf } = (await cluster.node("worker-1")).identity!.answer;
  await expect(trustOf(false).assertIssuerCounts(leaf, "node")).rejects.toMatchObject({
    code: "CLIENT_CERTIFICATE_REFUSED",
  });
  expect(await trustOf(true).assertIssuerCounts(leaf, "node")).toBe("counts");
});

test("without a cross-certificate the next root signs once everybody has acknowledged it, or is named", async () => {
  const made = await anOfflineCluster();
  await using cluster = made.cluster;
  await cluster.node("away");
  const next = new OfflineRoot(cluster.clock.now(), { commonName: "next" });
  await take(cluster, "prepare", { certificates: next.answer(await request(cluster)) });
  await expect(take(cluster, "activate")).rejects.toMatchObject({
    code: "CA_PHASE_INVALID",
    suggestion: expect.stringContaining("rks ca activate --force away"),
  });
  expect(await take(cluster, "activate", { force: ["away"] })).toMatchObject({ phase: "activated" });
});

test("a request is the same until another one is wanted", async () => {
  const made = await anOfflineCluster();
  await using cluster = made.cluster;
  const first = await cluster.cluster.ca.request(actor);
  expect(await cluster.cluster.ca.request(actor)).toEqual(first);
  expect(await cluster.cluster.ca.request({ ...actor, fresh: true })).not.toEqual(first);
});

function* noLinks(): Generator<never, void, void> {
  yield* [];
}

class Folder implements IntermediateFiles {
  certificates: string | undefined;
  readonly requests: string[] = [];
  forgotten = 0;

  read(): Promise<string | undefined> {
    return Promise.resolve(this.certificates);
  }

  leaveRequest(pem: string): Promise<void> {
    this.requests.push(pem);
    return Promise.resolve();
  }

  forget(): Promise<void> {
    this.certificates = undefined;
    this.forgotten += 1;
    return Promise.resolve();
  }
}

test("an intermediate that ended while rks was down is replaced by what lies in the folder", async () => {
  const made = await anOfflineCluster();
  await using cluster = made.cluster;
  const { ca: clusterCa, clock } = cluster;
  const files = new Folder();
  const start = async (): Promise<void> =>
    reviveIntermediate({
      clusterCa,
      rotation: cluster.cluster.ca,
      files,
      nowMs: clock.now(),
      logger: silentLogger,
    });
  await start();
  expect(files).toMatchObject({ requests: [], forgotten: 0 });
  clock.advance(366 * DAY_MS);
  await start();
  const asked = parseCertificateRequest(clusterCa.requestAgain()!);
  expect(files.requests).toHaveLength(1);
  files.certificates = "nonsense";
  await start();
  expect(files).toMatchObject({ forgotten: 0, requests: [expect.any(String), expect.any(String)] });
  files.certificates = made.root.answer(asked.der, { notAfter: clock.now() + DAY_MS });
  await start();
  expect(files).toMatchObject({ forgotten: 1, certificates: undefined });
  expect(clusterCa.intermediateNotAfter).toBeGreaterThan(clock.now());
});
