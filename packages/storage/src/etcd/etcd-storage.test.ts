import { systemClock } from "@rk8s/host";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { EtcdCluster, hasEtcd } from "../testing/etcd.js";
import { collect, put, storageContract } from "../testing/storage-contract.js";
import { type EtcdCredentials } from "./credentials.js";
import { type EtcdStorage, openEtcdStorage } from "./etcd-storage.js";

describe.skipIf(!hasEtcd())("on a real etcd with mutual TLS (needs etcd)", { timeout: 30_000 }, () => {
  let cluster: EtcdCluster;
  let credentials: EtcdCredentials;
  let stores = 0;

  beforeAll(async () => {
    cluster = await EtcdCluster.start();
    credentials = await cluster.credentials("rks");
  }, 60_000);
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  const open = async (prefix: string): Promise<EtcdStorage> =>
    openEtcdStorage({ endpoints: cluster.endpoints, prefix, credentials, clock: systemClock });
  const newPrefix = (): string => {
    stores += 1;
    return `test/${stores}`;
  };

  storageContract("etcd", () => open(newPrefix()), { everyWriteCounts: true });

  test("entries, revisions and what was watched survive closing and opening", async () => {
    const prefix = newPrefix();
    const first = await open(prefix);
    const { revision } = await first.transaction([], [put("a", "1")]);
    await first[Symbol.asyncDispose]();
    await using second = await open(prefix);
    expect(await second.get("a")).toMatchObject({ createRevision: revision, modRevision: revision });
    expect((await collect(second, "", revision, 1)).map(({ key }) => key)).toEqual(["a"]);
  });

  test("two stores in one etcd see nothing of each other", async () => {
    const prefix = newPrefix();
    await using one = await open(prefix);
    await using other = await open(`${prefix}/d`);
    await using third = await open(`${prefix}0`);
    await one.transaction([], [put("k", "one")]);
    await third.transaction([], [put("k", "third")]);
    expect(await other.get("k")).toBeUndefined();
    expect((await other.list("")).entries).toEqual([]);
    expect((await one.list("")).entries.map(({ key }) => key)).toEqual(["k"]);
    expect(Buffer.from((await third.get("k"))?.value ?? []).toString()).toBe("third");
  });

  test("of 50 clients' transactions that create one key at once, exactly one wins, and every client sees it", async () => {
    const prefix = newPrefix();
    const clients = await Promise.all(Array.from({ length: 5 }, () => open(prefix)));
    const results = await Promise.all(
      clients.flatMap((client, index) =>
        Array.from({ length: 10 }, (_, count) => {
          const name = `${index}-${count}`;
          return client.transaction(
            [{ key: "token", modRevision: 0 }],
            [put("token", name), put(`won/${name}`, "")],
          );
        }),
      ),
    );
    const winners = results.flatMap(({ succeeded }, index) =>
      succeeded ? [`${Math.floor(index / 10)}-${index % 10}`] : [],
    );
    expect(winners).toHaveLength(1);
    for (const client of clients) {
      expect(Buffer.from((await client.get("token"))?.value ?? []).toString()).toBe(winners[0]);
      expect((await client.list("won/")).entries).toHaveLength(1);
      await client[Symbol.asyncDispose]();
    }
  });

  test("500 reads at once give what is there, and each sees what was written before it", async () => {
    await using storage = await open(newPrefix());
    const count = 100;
    await storage.transaction(
      [],
      Array.from({ length: count }, (_, index) => put(`k/${index}`, String(index))),
    );
    const read = await Promise.all(
      Array.from({ length: 500 }, (_, index) => storage.get(`k/${index % 125}`)),
    );
    expect(
      read.map((entry) => (entry === undefined ? -1 : Number(Buffer.from(entry.value).toString()))),
    ).toEqual(Array.from({ length: 500 }, (_, index) => (index % 125 < count ? index % 125 : -1)));
    for (let round = 0; round < 20; round += 1) {
      const others = Array.from({ length: 40 }, () => storage.get("k/1"));
      const { revision } = await storage.transaction([], [put("k/0", `round ${round}`)]);
      expect(await storage.get("k/0")).toMatchObject({ modRevision: revision });
      await Promise.all(others);
    }
  });

  test("a member is found by its name too", async () => {
    const endpoints = cluster.endpoints.map((url) => url.replace("127.0.0.1", "localhost"));
    const init = { endpoints, prefix: newPrefix(), credentials, clock: systemClock, learnMembers: false };
    await using storage = await openEtcdStorage(init);
    expect((await storage.transaction([], [put("a", "1")])).succeeded).toBe(true);
  });

  test("a client's writes are seen by another one's watch at once", async () => {
    const prefix = newPrefix();
    await using writer = await open(prefix);
    await using reader = await open(prefix);
    const { revision } = await reader.list("");
    const seen = collect(reader, "bans/", revision + 1, 1);
    const start = performance.now();
    await writer.transaction([], [put("bans/n1", "")]);
    expect((await seen).map(({ key }) => key)).toEqual(["bans/n1"]);
    expect(performance.now() - start).toBeLessThan(3000);
  });

  test("attempt records do not add up, and are gone when the store was closed", async () => {
    const prefix = newPrefix();
    const records = async (): Promise<string[]> =>
      (await cluster.etcdctl("get", `${prefix}/a/`, "--prefix", "--keys-only"))
        .split("\n")
        .filter((key) => key !== "");
    {
      await using storage = await open(prefix);
      for (let round = 0; round < 20; round += 1) await storage.transaction([], [put("a", String(round))]);
      expect(await records()).toHaveLength(1);
      expect((await storage.list("")).entries).toHaveLength(1);
    }
    expect(await records()).toEqual([]);
  });

  test("a record that a killed client left is deleted a day later, and no younger one", async () => {
    const prefix = newPrefix();
    await cluster.etcdctl("put", `${prefix}/a/dead`, `${new Date(Date.now() - 90_000_000).toISOString()} 00`);
    await cluster.etcdctl(
      "put",
      `${prefix}/a/alive`,
      `${new Date(Date.now() - 80_000_000).toISOString()} 00`,
    );
    await cluster.etcdctl("put", `${prefix}/a/strange`, "");
    await using storage = await open(prefix);
    expect(storage).toBeDefined();
    const keys = await cluster.etcdctl("get", `${prefix}/a/`, "--prefix", "--keys-only");
    expect(keys.split("\n").filter((key) => key !== "")).toEqual([
      `${prefix}/a/alive`,
      `${prefix}/a/strange`,
    ]);
  });

  test("a client whose record somebody deletes goes on, each transaction done once", async () => {
    const prefix = newPrefix();
    await using storage = await open(prefix);
    for (let round = 1; round <= 3; round += 1) {
      const { revision } = await storage.transaction([], [put("a", String(round))]);
      await cluster.etcdctl("del", `${prefix}/a/`, "--prefix");
      const next = await storage.transaction(
        [{ key: "a", modRevision: revision }],
        [put("b", String(round))],
      );
      expect(next.succeeded).toBe(true);
      expect(await storage.get("b")).toMatchObject({ modRevision: next.revision });
    }
  });

  test("a page whose values are too large to be read at once is shorter, and pages still join", async () => {
    await using storage = await open(newPrefix());
    const value = new Uint8Array(1_400_000);
    for (let index = 10; index < 40; index += 1) {
      await storage.transaction([], [{ type: "put", key: `big/${index}`, value }]);
    }
    const keys: string[] = [];
    for (let after = ""; ;) {
      const page = await storage.list("big/", { after });
      keys.push(...page.entries.map(({ key }) => key));
      if (!page.more) break;
      expect(page.entries.length).toBeGreaterThan(0);
      after = keys.at(-1) ?? "";
    }
    expect(keys).toEqual(Array.from({ length: 30 }, (_, index) => `big/${index + 10}`));
  });

  test("a watch that catches up with more than one answer can hold misses nothing and repeats nothing", async () => {
    await using storage = await open(newPrefix());
    const { revision } = await storage.list("");
    const value = new Uint8Array(300_000);
    for (let round = 0; round < 8; round += 1) {
      await storage.transaction(
        [],
        ["a", "b", "c", "d", "e"].map((key) => ({ type: "put", key: `${key}${round}`, value })),
      );
    }
    const seen = await collect(storage, "", revision + 1, 40);
    expect(seen.map(({ key }) => key)).toEqual(
      Array.from({ length: 8 }, (_, round) =>
        ["a", "b", "c", "d", "e"].map((key) => key + String(round)),
      ).flat(),
    );
  });

  test("a watch from a revision that was compacted away, or that may have lost a deletion, is refused", async () => {
    await using storage = await open(newPrefix());
    const { revision } = await storage.transaction([], [put("a", "1")]);
    await storage.transaction([], [put("b", "1")]);
    const deleted = await storage.transaction([], [{ type: "delete", key: "a" }]);
    await cluster.etcdctl("compact", String(deleted.revision));
    for (const from of [revision, revision + 1, deleted.revision]) {
      await expect(collect(storage, "", from, 1)).rejects.toMatchObject({ code: "CONFLICT" });
    }
    const seen = collect(storage, "", deleted.revision + 1, 1);
    const last = await storage.transaction([], [put("c", "1")]);
    expect(await seen).toMatchObject([{ key: "c", revision: last.revision }]);
  });
});
