import { expect, test } from "vitest";
import { actor, aCluster, type TestCluster } from "../server/testing/a-cluster.js";
import { type TestIdentity, TestPeer } from "../server/testing/test-peer.js";
import { adoptionWrite } from "./adoption.js";
import { type NodeRecord, nodeRecords } from "./node-record.js";

const HOUR_MS = 3_600_000;
const NAME = "worker-1";

interface Restored {
  readonly cluster: TestCluster;
  /** Of the node, issued before the backup and after it. */
  readonly before: TestIdentity;
  readonly after: TestIdentity;
}

/**
 * A cluster over a store that was put back to before the node's renewal. `adopts`: how long after now nodes may be adopted;
 * `from`: how long before now the backup was made.
 */
async function aRestore(
  adopts: { readonly fromMs: number; readonly untilMs: number } | undefined,
  change: (record: NodeRecord) => NodeRecord = (record) => record,
): Promise<Restored> {
  const old = await aCluster();
  const { clock, storage, ca } = old;
  const node = await old.registeredNode(NAME);
  const nodes = nodeRecords(storage);
  const backup = (await nodes.read(NAME))!.record;
  clock.advance(HOUR_MS / 2);
  const after = await node.renew();
  await old.stop();
  await storage.transaction(
    [],
    [
      nodes.put(NAME, change(backup)),
      { type: "delete", key: `logical/test/certs/${after.answer.serialNumber}` },
    ],
  );
  if (adopts !== undefined) {
    const at = (ms: number): string => new Date(clock.now() + ms).toISOString();
    const adoption = { from: at(adopts.fromMs), until: at(adopts.untilMs), epoch: 1 };
    await storage.transaction([], [adoptionWrite(storage, adoption)]);
  }
  return { cluster: await aCluster({ clock, storage, ca }), before: node.identity!, after };
}

const ADOPTS = { fromMs: -HOUR_MS / 2, untilMs: HOUR_MS };

async function comesIn(cluster: TestCluster, identity: TestIdentity): Promise<string> {
  const peer = await TestPeer.dial(cluster, identity);
  return peer.hello().then(
    () => "in",
    (reason: unknown) => (reason as { readonly code: string }).code,
  );
}

test("a node that renewed after the backup goes on with its certificate, and the store knows it from then on", async () => {
  const { cluster, after } = await aRestore(ADOPTS);
  await using _ = cluster;
  expect(await comesIn(cluster, after)).toBe("in");
  const { record } = (await nodeRecords(cluster.storage).read(NAME))!;
  expect(record).toMatchObject({ serialNumber: after.answer.serialNumber, adoptedIn: 1 });
  expect(await cluster.ca.knows(after.answer.serialNumber)).toBe(true);
  expect(cluster.audit.lines).toContainEqual(
    expect.objectContaining({ operation: "node.adopt", outcome: "done" }),
  );
});

test("what a tainted root has signed is adopted by nobody", async () => {
  const { cluster, after } = await aRestore(ADOPTS);
  await using _ = cluster;
  await cluster.cluster.ca.step("prepare", actor);
  await cluster.cluster.ca.step("taint", actor);
  expect(await comesIn(cluster, after)).toBe("CERTIFICATE_REVOKED");
});

test("the certificate of before the backup goes on as well, until the newer one was used", async () => {
  const { cluster, before, after } = await aRestore(ADOPTS);
  await using _ = cluster;
  expect(await comesIn(cluster, before)).toBe("in");
  expect(await comesIn(cluster, after)).toBe("in");
  expect(await comesIn(cluster, before)).toBe("CERTIFICATE_REVOKED");
});

test("a node is adopted once: another certificate that nobody knows is a copy", async () => {
  const { cluster, after } = await aRestore(ADOPTS, (record) => ({ ...record, adoptedIn: 1 }));
  await using _ = cluster;
  expect(await comesIn(cluster, after)).toBe("CERTIFICATE_REVOKED");
});

test.each([
  { name: "nobody asked for it", adopts: undefined },
  { name: "the time for it is over", adopts: { ...ADOPTS, untilMs: 0 } },
  { name: "the certificate is older than the backup", adopts: { ...ADOPTS, fromMs: HOUR_MS } },
])("a node is not adopted when $name", async ({ adopts }) => {
  const { cluster, after } = await aRestore(adopts);
  await using _ = cluster;
  expect(await comesIn(cluster, after)).toBe("CERTIFICATE_REVOKED");
});

test("a node that the backup knows as banned stays out", async () => {
  const { cluster, after } = await aRestore(ADOPTS, (record) => ({ ...record, banned: "test" }));
  await using _ = cluster;
  expect(await comesIn(cluster, after)).toBe("NODE_BANNED");
});

test("what is written down fails: nobody is adopted", async () => {
  const { cluster, after } = await aRestore(ADOPTS);
  await using _ = cluster;
  cluster.audit.broken = "intents";
  expect(await comesIn(cluster, after)).not.toBe("in");
  cluster.audit.broken = "nothing";
  expect((await nodeRecords(cluster.storage).read(NAME))!.record.adoptedIn).toBeUndefined();
});
