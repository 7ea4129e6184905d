import { systemClock } from "@rk8s/host";
import { silentLogger } from "@rk8s/protocol";
import { type EtcdStorage, openEtcdStorage } from "@rk8s/storage/etcd";
import { EtcdCluster } from "@rk8s/storage/testing/etcd";
import { afterAll, beforeAll, expect, test } from "vitest";
import { suiteThatNeeds } from "./harness/needs.js";
import { expectNothingLost, StoreLoad } from "./harness/store-load.js";

/** An election takes etcd up to 2 s with its default settings; the rest is for a busy machine. */
const LONGEST_GAP_MS = 5000;

suiteThatNeeds(["etcd"], "a store of three etcd members with mutual TLS", () => {
  let cluster: EtcdCluster;
  let prefixes = 0;
  beforeAll(async () => {
    cluster = await EtcdCluster.start({ members: 3 });
  });
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  const open = async (prefix: string): Promise<EtcdStorage> =>
    openEtcdStorage({
      endpoints: cluster.endpoints,
      prefix,
      credentials: await cluster.credentials("rks"),
      clock: systemClock,
    });
  const newPrefix = (): string => {
    prefixes += 1;
    return `failover/${prefixes}`;
  };

  test("its leader killed under load: nothing acknowledged is lost, a watch misses and repeats nothing", async () => {
    const prefix = newPrefix();
    await using storage = await open(prefix);
    await using other = await open(prefix);
    const load = new StoreLoad([storage, other]);
    const running = load.run();
    await load.acknowledged(50);
    const leader = await cluster.leader();
    await leader.kill();
    await load.acknowledged(load.count + 100);
    leader.start();
    await leader.healthy(30_000);
    await load.acknowledged(load.count + 50);
    load.stop();
    await running;
    await expectNothingLost(load);
    expect(load.longestGapMs).toBeLessThan(LONGEST_GAP_MS);
    process.stdout.write(
      `leader killed: longest gap ${Math.round(load.longestGapMs)} ms of ${load.count} writes\n`,
    );
  });

  test("a member that stands still costs one request's time and is left, watches too", async () => {
    const prefix = newPrefix();
    await using storage = await open(prefix);
    await using other = await open(prefix);
    const load = new StoreLoad([storage, other]);
    const running = load.run();
    await load.acknowledged(20);
    const leader = await cluster.leader();
    // Both clients still ask the first member; a follower that stands still must not disturb anybody else.
    const [first] = cluster.members;
    await first?.pause();
    try {
      await load.acknowledged(load.count + 100);
    } finally {
      first?.resume();
    }
    load.stop();
    await running;
    await expectNothingLost(load);
    expect(load.longestGapMs).toBeLessThan(first === leader ? LONGEST_GAP_MS * 2 : LONGEST_GAP_MS);
  });

  test("members that were not configured are learnt and used when the configured one is gone", async () => {
    const [first] = cluster.members;
    let learnt: (urls: unknown) => void = () => undefined;
    const urls = new Promise<unknown>((resolve) => {
      learnt = resolve;
    });
    await using storage = await openEtcdStorage({
      endpoints: cluster.endpoints.slice(0, 1),
      prefix: newPrefix(),
      credentials: await cluster.credentials("rks"),
      clock: systemClock,
      logger: { ...silentLogger, info: (_message, fields) => learnt(fields?.["urls"]) },
    });
    expect(new Set((await urls) as string[])).toEqual(new Set(cluster.endpoints));
    const { revision } = await storage.transaction([], [{ type: "put", key: "a", value: Buffer.from("1") }]);
    await first?.kill();
    expect(await storage.get("a")).toMatchObject({ modRevision: revision });
    first?.start();
    await first?.healthy(30_000);
  });

  test("without a majority nothing is done, and the error says what is missing; with one again all goes on", async () => {
    await using storage = await open(newPrefix());
    const { revision } = await storage.transaction([], [{ type: "put", key: "a", value: Buffer.from("1") }]);
    const [, second, third] = cluster.members;
    await Promise.all([second?.kill(), third?.kill()]);
    const results = await Promise.allSettled([
      storage.transaction(
        [{ key: "a", modRevision: revision }],
        [{ type: "put", key: "a", value: Buffer.from("2") }],
      ),
      storage.get("a"),
    ]);
    for (const result of results) {
      expect(result).toMatchObject({
        status: "rejected",
        reason: { code: "UNAVAILABLE", message: expect.stringContaining("https://127.0.0.1:") },
      });
    }
    second?.start();
    third?.start();
    await Promise.all([second?.healthy(30_000), third?.healthy(30_000)]);
    const entry = await storage.get("a");
    expect(
      (await storage.transaction([{ key: "a", modRevision: entry?.modRevision ?? 0 }], [])).succeeded,
    ).toBe(true);
  });
});
