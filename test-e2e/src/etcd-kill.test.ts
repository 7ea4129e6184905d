import { systemClock } from "@rk8s/host";
import { pagesOf, type Storage } from "@rk8s/storage";
import { openEtcdStorage } from "@rk8s/storage/etcd";
import { EtcdCluster } from "@rk8s/storage/testing/etcd";
import { expect, test } from "vitest";
import { linesUntilKilled } from "./harness/killed-writer.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { expectNothingLost, StoreLoad } from "./harness/store-load.js";

/** Writes pairs for ever, eight transactions at a time, and says which are done. The halves of a pair are one transaction. */
const WRITER = `
  import { systemClock } from "@rk8s/host";
  import { openEtcdStorage } from "@rk8s/storage/etcd";
  const [endpoint, first] = process.argv.slice(1);
  const storage = await openEtcdStorage({ endpoints: [endpoint], prefix: "kill", clock: systemClock });
  const write = async (id) => {
    const put = (key) => ({ type: "put", key, value: Buffer.alloc(500, id) });
    const { succeeded } = await storage.transaction([{ key: "left/" + id, modRevision: 0 }], [put("left/" + id), put("right/" + id)]);
    if (succeeded) process.stdout.write(id + "\\n");
  };
  for (let id = Number(first); ; id += 8) {
    await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((offset) => write(id + offset)));
  }
`;

suiteThatNeeds(["etcd"], "a store of one etcd member", () => {
  test("after kill -9 of the client every acknowledged transaction is there, none is half there, and the next client works", async () => {
    await using cluster = await EtcdCluster.start({ tls: false });
    const [endpoint = ""] = cluster.endpoints;
    const acknowledged: number[] = [];
    for (const [round, killAfter] of [1, 20, 60].entries()) {
      const written = await linesUntilKilled(WRITER, [endpoint, String(round * 1000)], killAfter);
      acknowledged.push(...written.map(Number));
    }
    await using storage = await openEtcdStorage({
      endpoints: [endpoint],
      prefix: "kill",
      clock: systemClock,
    });
    const left = await ids(storage, "left/");
    expect(await ids(storage, "right/")).toEqual(left);
    expect(acknowledged.length).toBeGreaterThanOrEqual(81);
    expect(acknowledged.filter((id) => !left.includes(id))).toEqual([]);
  });

  test("after kill -9 of the server it is waited for: nothing is lost and nobody fails", async () => {
    await using cluster = await EtcdCluster.start({ tls: false });
    const [member] = cluster.members;
    await using storage = await openEtcdStorage({
      endpoints: cluster.endpoints,
      prefix: "kill",
      clock: systemClock,
      operationTimeoutMs: 30_000,
    });
    const load = new StoreLoad([storage]);
    const running = load.run();
    for (let round = 0; round < 3; round += 1) {
      await load.acknowledged(load.count + 50);
      await member?.kill();
      member?.start();
    }
    await load.acknowledged(load.count + 50);
    load.stop();
    await running;
    await expectNothingLost(load);
  });
});

async function ids(storage: Storage, prefix: string): Promise<number[]> {
  const found: number[] = [];
  for await (const entries of pagesOf(storage, prefix)) {
    for (const { key, value } of entries) {
      const id = Number(key.slice(prefix.length));
      expect(value.every((byte) => byte === id % 256)).toBe(true);
      found.push(id);
    }
  }
  return found;
}
