import { setTimeout as sleep } from "node:timers/promises";

import { systemClock } from "@rk8s/host";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { EtcdCluster, hasEtcd } from "../testing/etcd.js";
import { collect, put } from "../testing/storage-contract.js";
import { TcpRelay } from "../testing/tcp-relay.js";
import type { EtcdCredentials } from "./credentials.js";
import { type EtcdStorage, type EtcdStorageInit, openEtcdStorage } from "./etcd-storage.js";

/** Machines that run tests are busy. */
const PATIENCE = { timeout: 30_000 };

describe.skipIf(!hasEtcd())(
  "over a network that loses answers and connections (needs etcd)",
  PATIENCE,
  () => {
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

    const openVia = async (
      relays: readonly TcpRelay[],
      init: Partial<EtcdStorageInit> = {},
    ): Promise<EtcdStorage> => {
      stores += 1;
      const endpoints = relays.map(({ address }) => `https://${address}`);
      return openEtcdStorage({
        endpoints,
        prefix: `lost/${stores}`,
        credentials,
        clock: systemClock,
        attemptTimeoutMs: 500,
        learnMembers: false,
        ...init,
      });
    };
    const openRelay = async (): Promise<TcpRelay> => TcpRelay.open(cluster.endpoints[0] ?? "");

    /** Let the next request reach the server and its answer not come back; then the connection breaks. */
    const loseAnswer = async (relay: TcpRelay, request: () => Promise<unknown>): Promise<unknown> => {
      relay.swallowsAnswers = true;
      const result = request();
      await sleep(150);
      relay.swallowsAnswers = false;
      relay.cut();
      return result;
    };

    test("a create whose answer is lost reports that it succeeded, with the revision at which it did", async () => {
      await using relay = await openRelay();
      await using storage = await openVia([relay]);
      for (let round = 0; round < 5; round += 1) {
        const key = `token/${round}`;
        const result = await loseAnswer(relay, () =>
          storage.transaction([{ key, modRevision: 0 }], [put(key, "mine")]),
        );
        expect(await storage.get(key)).toMatchObject({
          createRevision: (result as { revision: number }).revision,
        });
        expect(result).toMatchObject({ succeeded: true });
      }
    });

    test("a transaction without comparisons whose answer is lost is done once", async () => {
      await using relay = await openRelay();
      await using storage = await openVia([relay]);
      const { revision } = await storage.list("");
      const written = await loseAnswer(relay, () => storage.transaction([], [put("log", "once")]));
      await storage.transaction([], [put("end", "")]);
      const changes = await collect(storage, "", revision + 1, 2);
      expect(changes.map(({ key }) => key)).toEqual(["log", "end"]);
      expect(changes[0]?.revision).toBe((written as { revision: number }).revision);
    });

    test("a compare and swap that another client won says so, although the answer is lost", async () => {
      await using relay = await openRelay();
      await using other = await openRelay();
      stores += 1;
      const prefix = `lost/race/${stores}`;
      await using storage = await openVia([relay], { prefix });
      await using winner = await openVia([other], { prefix });
      await winner.transaction([{ key: "token", modRevision: 0 }], [put("token", "theirs")]);
      const result = await loseAnswer(relay, () =>
        storage.transaction([{ key: "token", modRevision: 0 }], [put("token", "mine")]),
      );
      expect(result).toMatchObject({ succeeded: false });
      expect(Buffer.from((await storage.get("token"))?.value ?? []).toString()).toBe("theirs");
    });

    test("when the answer does not come at all the error says that the outcome is unknown, and the next one is right", async () => {
      await using relay = await openRelay();
      await using storage = await openVia([relay], { operationTimeoutMs: 1500 });
      await storage.transaction([], [put("a", "0")]);
      relay.swallowsAnswers = true;
      await expect(storage.transaction([], [put("a", "1")])).rejects.toMatchObject({
        code: "UNAVAILABLE",
        message: expect.stringContaining("is not known"),
      });
      const unsent = storage.transaction([], [put("b", "1")]);
      await expect(unsent).rejects.toMatchObject({ message: expect.not.stringContaining("is not known") });
      relay.swallowsAnswers = false;
      relay.cut();
      const next = await storage.transaction([], [put("c", "1")]);
      expect(next.succeeded).toBe(true);
      expect(await storage.get("a")).toMatchObject({ value: Uint8Array.from(Buffer.from("1")) });
      expect(await storage.get("b")).toBeUndefined();
      expect(await storage.get("c")).toMatchObject({ modRevision: next.revision });
    });

    test("an attempt that arrives after it was settled elsewhere is not applied", async () => {
      await using first = await openRelay();
      await using second = await openRelay();
      await using storage = await openVia([first, second]);
      const { revision } = await storage.transaction([], [put("a", "0")]);
      first.hold();
      const result = storage.transaction([], [put("late", "1")]);
      await sleep(100);
      const sent = first.held;
      expect(sent).toBeGreaterThan(0);
      const written = await result;
      expect(written.succeeded).toBe(true);
      await storage.transaction([], [{ type: "delete", key: "late" }]);
      // Only now the server gets the first attempt, which would hold again if it compared nothing.
      first.release(sent);
      await sleep(300);
      await storage.transaction([], [put("end", "")]);
      const changes = await collect(storage, "", revision + 1, 3);
      expect(changes.map(({ key }) => key)).toEqual(["late", "late", "end"]);
      expect(changes[0]?.revision).toBe(written.revision);
    });

    test("with answers and connections lost again and again no counted step is lost or done twice", async () => {
      await using relay = await openRelay();
      await using storage = await openVia([relay]);
      const { revision } = await storage.list("");
      const steps = 24;
      for (let step = 0; step < steps; step += 1) {
        const before = await storage.get("counter");
        const count = before === undefined ? 0 : Number(Buffer.from(before.value).toString());
        const write = (): Promise<unknown> =>
          storage.transaction(
            [{ key: "counter", modRevision: before?.modRevision ?? 0 }],
            [put("counter", String(count + 1))],
          );
        const written = step % 3 === 0 ? loseAnswer(relay, write) : write();
        if (step % 3 === 1) relay.cut();
        expect(await written).toMatchObject({ succeeded: true });
      }
      const changes = await collect(storage, "counter", revision + 1, steps);
      expect(changes.map(({ value }) => Buffer.from(value ?? []).toString())).toEqual(
        Array.from({ length: steps }, (_, index) => String(index + 1)),
      );
    }, 60_000);

    test("a watch over connections that break misses nothing and repeats nothing", async () => {
      await using relay = await openRelay();
      await using direct = await openRelay();
      await using watcher = await openVia([relay]);
      await using writer = await openVia([direct], { prefix: `lost/${stores}` });
      const { revision } = await watcher.list("");
      const count = 150;
      const seen = collect(watcher, "", revision + 1, count * 3);
      for (let index = 0; index < count; index += 1) {
        await writer.transaction(
          [],
          [put("a", String(index)), put("b", String(index)), put("c", String(index))],
        );
        if (index % 10 === 0) relay.cut();
      }
      const values = (await seen).map(({ key, value }) => key + Buffer.from(value ?? []).toString());
      expect(values).toEqual(
        Array.from({ length: count }, (_, index) => [`a${index}`, `b${index}`, `c${index}`]).flat(),
      );
    });

    test("a watch whose next changes were compacted away while it was cut off ends with CONFLICT", async () => {
      await using relay = await openRelay();
      await using direct = await openRelay();
      await using watcher = await openVia([relay]);
      await using writer = await openVia([direct], { prefix: `lost/${stores}` });
      const { revision } = await writer.transaction([], [put("a", "0")]);
      const changes = watcher.watch("", revision, { signal: AbortSignal.timeout(20_000) });
      const watch = changes[Symbol.asyncIterator]();
      expect(await watch.next()).toMatchObject({ value: { key: "a" } });
      relay.swallowsAnswers = true;
      for (let index = 1; index <= 3; index += 1) await writer.transaction([], [put("a", String(index))]);
      const last = await writer.transaction([], [put("a", "4")]);
      await cluster.etcdctl("compact", String(last.revision));
      relay.swallowsAnswers = false;
      relay.cut();
      await expect(watch.next()).rejects.toMatchObject({ code: "CONFLICT" });
    });

    test("new credentials are used without one failed request, and the watch goes on", async () => {
      await using relay = await openRelay();
      await using storage = await openVia([relay]);
      const { revision } = await storage.list("");
      const count = 300;
      const seen = collect(storage, "", revision + 1, count);
      for (let index = 0; index < count; index += 1) {
        const write = storage.transaction([], [put(`k/${index % 5}`, String(index))]);
        const read = storage.get("k/0");
        if (index % 30 === 0) await storage.useCredentials(await cluster.credentials(`rks-${index}`));
        expect((await write).succeeded).toBe(true);
        await read;
      }
      expect((await seen).map(({ value }) => Buffer.from(value ?? []).toString())).toEqual(
        Array.from({ length: count }, (_, index) => String(index)),
      );
    });
  },
);
