import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hex } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { encodePem, parseCertificate, parseCrl, revokedCertificates } from "@rk8s/x509";
import { expect, onTestFinished, test } from "vitest";
import { anOfflineClusterCa } from "../join/testing/a-cluster-ca.js";
import { FaultyStorage } from "../join/testing/faulty-storage.js";
import type { RotationStep } from "../pki/cluster-rotation.js";
import { OfflineRoot } from "../pki/testing/offline-root.js";
import { takeStep } from "../pki/testing/rotating-ca.js";
import { aCluster, actor, type TestCluster } from "../server/testing/a-cluster.js";
import { TestPeer, type TestIdentity } from "../server/testing/test-peer.js";
import { askBackend } from "../vault/testing/ask-backend.js";

const NAME = "worker-1";
const DAY_MS = 86_400_000;
const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

/** Entries of the list that everyone may read, serial number and reason. */
async function listed({ ca }: TestCluster): Promise<Record<string, string>> {
  const revoked = [...revokedCertificates(parseCrl((await crlOf(ca)).der))];
  return Object.fromEntries(revoked.map(({ serialNumber, reason }) => [serialNumber, reason]));
}

async function crlOf(ca: TestCluster["ca"]): Promise<{ readonly der: Uint8Array; readonly pem: string }> {
  const [der, pem] = [await askBackend(ca, "read", "crl"), await askBackend(ca, "read", "crl/pem")];
  return { der: der!.raw!.body as Uint8Array, pem: pem!.raw!.body as string };
}

async function renewed(cluster: TestCluster, node: TestPeer): Promise<TestPeer> {
  const peer = await TestPeer.dial(cluster, await node.renew());
  await peer.hello();
  await peer.register();
  return peer;
}

/** Take steps of a root rotation. */
async function rotate({ ca, storage }: TestCluster, steps: readonly RotationStep[]): Promise<void> {
  for (const step of steps) await takeStep(ca, storage, step, { rootTtlSeconds: 86_400 });
}

/** Files of a node's certificate, and openssl in their folder. */
function opensslFor(cluster: TestCluster, { answer }: TestIdentity) {
  const folder = mkdtempSync(join(tmpdir(), "rks-status-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "leaf.pem"), encodePem("CERTIFICATE", answer.leaf));
  const root = answer.chain.at(-1) ?? cluster.ca.root;
  writeFileSync(join(folder, "ca.pem"), encodePem("CERTIFICATE", root));
  const openssl = (...args: string[]): string => {
    const { stdout, stderr } = spawnSync("openssl", args, { cwd: folder, encoding: "utf8" });
    return stdout + stderr;
  };
  return { folder, openssl };
}

/** What openssl takes the OCSP answer about a certificate for. */
async function ocspOf(cluster: TestCluster, identity: TestIdentity): Promise<string> {
  const { folder, openssl } = opensslFor(cluster, identity);
  execFileSync("openssl", ["ocsp", "-issuer", "ca.pem", "-cert", "leaf.pem", "-reqout", "q.der"], {
    cwd: folder,
  });
  const request = readFileSync(join(folder, "q.der"));
  const answer = await askBackend(cluster.ca, "update", "ocsp", { request });
  writeFileSync(join(folder, "a.der"), answer!.raw!.body);
  const said = openssl(
    ...[
      "ocsp",
      "-issuer",
      "ca.pem",
      "-cert",
      "leaf.pem",
      "-no_nonce",
      "-reqin",
      "q.der",
      "-respin",
      "a.der",
      "-CAfile",
      "ca.pem",
    ],
  );
  const verified = said.includes("Response verify OK") ? "" : "not verified: ";
  return verified + (/leaf\.pem: (\w+)/.exec(said)?.[1] ?? said);
}

/** What openssl takes a certificate for, by the list. */
async function verifiedByList(cluster: TestCluster, identity: TestIdentity): Promise<string> {
  const { folder, openssl } = opensslFor(cluster, identity);
  const keyId = hex(parseCertificate(identity.answer.leaf).authorityKeyId!);
  const list = await askBackend(cluster.ca, "read", `issuer/${keyId}/crl/pem`);
  writeFileSync(join(folder, "crl.pem"), String(list!.raw!.body));
  const said = openssl("verify", "-crl_check", "-CRLfile", "crl.pem", "-CAfile", "ca.pem", "leaf.pem");
  if (said.includes("leaf.pem: OK")) return "good";
  return said.includes("certificate revoked") ? "revoked" : said;
}

test.skipIf(!hasOpenssl)(
  "list and OCSP agree about every certificate, in openssl's eyes",
  async () => {
    await using cluster = await aCluster({ clock: new FakeClock() });
    const first = await cluster.registeredNode(NAME);
    const current = await renewed(cluster, first);
    const banned = await cluster.registeredNode("worker-2");
    await cluster.cluster.nodes.ban("worker-2", actor);
    const unbanned = await cluster.registeredNode("worker-3");
    await cluster.cluster.nodes.ban("worker-3", actor);
    await cluster.cluster.nodes.unban("worker-3", actor);
    const evicted = await cluster.registeredNode("worker-4");
    await cluster.cluster.nodes.evict("worker-4", actor);
    const expected = new Map([
      [first, "revoked"],
      [current, "good"],
      [banned, "revoked"],
      [unbanned, "good"],
      [evicted, "revoked"],
    ]);
    for (const [peer, status] of expected) {
      expect([await ocspOf(cluster, peer.identity!), await verifiedByList(cluster, peer.identity!)]).toEqual([
        status,
        status,
      ]);
    }
    expect(await listed(cluster)).toEqual({
      [first.identity!.answer.serialNumber]: "superseded",
      [banned.identity!.answer.serialNumber]: "certificateHold",
      [evicted.identity!.answer.serialNumber]: "cessationOfOperation",
    });
  },
  30_000,
);

test.skipIf(!hasOpenssl)(
  "while the root is being replaced, each root answers for what it signed",
  async () => {
    await using cluster = await aCluster();
    const node = await cluster.registeredNode(NAME);
    const banned = await cluster.registeredNode("worker-2");
    await rotate(cluster, ["prepare", "activate"]);
    await cluster.cluster.nodes.ban("worker-2", actor);
    const replaced = await node.renew();
    const next = await node.renew();
    const old = node.identity!;
    const expected = new Map([
      [old, "good"],
      [banned.identity!, "revoked"],
      [replaced, "revoked"],
      [next, "good"],
    ]);
    for (const [identity, status] of expected) {
      expect([await ocspOf(cluster, identity), await verifiedByList(cluster, identity)]).toEqual([
        status,
        status,
      ]);
    }
    expect(Object.keys(await listed(cluster))).toEqual([replaced.answer.serialNumber]);
    await rotate(cluster, ["retire"]);
    expect(await ocspOf(cluster, old)).not.toContain("good");
  },
  30_000,
);

test.skipIf(!hasOpenssl)(
  "below an offline root each intermediate answers for what it signed, and the root alone is trusted",
  async () => {
    const clock = new FakeClock();
    const storage = new FaultyStorage();
    const root = new OfflineRoot(clock.now());
    const ca = await anOfflineClusterCa(storage, clock, root);
    await using cluster = await aCluster({ clock, storage, ca });
    const old = await cluster.registeredNode(NAME);
    const banned = await cluster.registeredNode("worker-2");
    await cluster.cluster.ca.request(actor);
    const { csr } = (await ca.pendingRequest())!;
    await cluster.cluster.ca.step("renew", { ...actor, certificates: root.answer(csr) });
    await cluster.cluster.nodes.ban("worker-2", actor);
    const next = await old.renew();
    const expected = new Map([
      [old.identity!, "good"],
      [banned.identity!, "revoked"],
      [next, "good"],
    ]);
    for (const [identity, status] of expected) {
      const { folder, openssl } = opensslFor(cluster, identity);
      const issuer = identity.answer.chain[0]!;
      writeFileSync(join(folder, "issuer.pem"), encodePem("CERTIFICATE", issuer));
      const keyId = hex(parseCertificate(identity.answer.leaf).authorityKeyId!);
      const list = await askBackend(ca, "read", `issuer/${keyId}/crl/pem`);
      writeFileSync(join(folder, "crl.pem"), String(list!.raw!.body));
      const trusted = ["-CAfile", "ca.pem", "-untrusted", "issuer.pem"];
      const verified = openssl("verify", "-crl_check", "-CRLfile", "crl.pem", ...trusted, "leaf.pem");
      expect(verified).toContain(status === "good" ? "leaf.pem: OK" : "certificate revoked");
      const asked = ["ocsp", "-issuer", "issuer.pem", "-cert", "leaf.pem"];
      openssl(...asked, "-reqout", "q.der");
      const request = readFileSync(join(folder, "q.der"));
      writeFileSync(join(folder, "a.der"), (await askBackend(ca, "update", "ocsp", { request }))!.raw!.body);
      const read = ["-no_nonce", "-reqin", "q.der", "-respin", "a.der", "-CAfile", "ca.pem"];
      const said = openssl(...asked, ...read, "-verify_other", "issuer.pem");
      expect(said).toContain("Response verify OK");
      expect(said).toContain(`leaf.pem: ${status}`);
    }
  },
  30_000,
);

test("a list is made anew when something is revoked or time is over, and its number grows", async () => {
  await using cluster = await aCluster();
  const read = async () => parseCrl((await crlOf(cluster.ca)).der);
  const node = await cluster.registeredNode(NAME);
  const empty = await read();
  expect((await read()).crlNumber).toEqual(empty.crlNumber);
  await renewed(cluster, node);
  const one = await read();
  expect([...revokedCertificates(one)]).toHaveLength(1);
  expect(Number(one.crlNumber)).toBeGreaterThan(Number(empty.crlNumber));
  cluster.clock.advance(DAY_MS / 2);
  const later = await read();
  expect(later.thisUpdate).toBe(one.thisUpdate + DAY_MS / 2);
  expect(Number(later.crlNumber)).toBeGreaterThan(Number(one.crlNumber));
});

test("the certificate's own page says when it was revoked", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const path = `cert/${node.identity!.answer.serialNumber}`;
  expect((await askBackend(cluster.ca, "read", path))?.data).toMatchObject({ revocation_time: 0 });
  await renewed(cluster, node);
  expect((await askBackend(cluster.ca, "read", path))?.data).toMatchObject({
    revocation_time: Math.floor(cluster.clock.now() / 1000),
  });
});

test("certificates are forgotten a day after their end, revocations an hour after it, and the root never", async () => {
  await using cluster = await aCluster();
  const node = await cluster.registeredNode(NAME);
  const { serialNumber } = node.identity!.answer;
  await renewed(cluster, node);
  const kept = async () => (await askBackend(cluster.ca, "read", `cert/${serialNumber}`)) !== undefined;
  cluster.clock.advance(2 * 3_600_000 + 1_000);
  await cluster.ca.tidy();
  expect([await kept(), await listed(cluster)]).toEqual([true, {}]);
  cluster.clock.advance(DAY_MS);
  await cluster.ca.tidy();
  expect(await kept()).toBe(false);
  expect((await askBackend(cluster.ca, "read", "cert/ca"))?.data).toBeDefined();
  const { entries } = await cluster.storage.list("logical/");
  expect(entries.filter(({ key }) => key.includes(serialNumber))).toEqual([]);
});

test("a node that renews for days leaves a bounded number of records behind", async () => {
  await using cluster = await aCluster();
  let node = await cluster.registeredNode(NAME);
  const counts: number[] = [];
  for (let renewal = 0; renewal < 60; renewal++) {
    cluster.clock.advance(2_400_000);
    node = await renewed(cluster, node);
    await cluster.ca.tidy();
    const { entries } = await cluster.storage.list("logical/");
    if (renewal > 40) counts.push(entries.length);
  }
  expect(Math.max(...counts) - Math.min(...counts)).toBeLessThan(4);
}, 30_000);
