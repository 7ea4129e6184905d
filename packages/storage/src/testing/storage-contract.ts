import { signalLoad } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";

import {
  MAX_KEY_BYTES,
  MAX_LIST_LIMIT,
  MAX_TRANSACTION_BYTES,
  MAX_TRANSACTION_WRITES,
  MAX_VALUE_BYTES,
} from "../storage.js";
import type { Change, Storage, Write } from "../storage.js";

/** What a barrier adds to the keys, the values and the writes of a transaction of two. */
const OVERHEAD_BYTES = 1024;

export interface StorageContractLimits {
  /** Writes one transaction can hold. Default `MAX_TRANSACTION_WRITES`. */
  readonly maxWrites?: number;
  /** Set for a store that writes of its own with every transaction, so that none leaves the revision alone. */
  readonly everyWriteCounts?: boolean;
}

/** Run every rule of the `Storage` port against an adapter. `open` gives a new, empty store each time. */
export function storageContract(
  name: string,
  open: () => Promise<Storage>,
  { maxWrites = MAX_TRANSACTION_WRITES, everyWriteCounts = false }: StorageContractLimits = {},
): void {
  const rule = (title: string, body: (storage: Storage) => Promise<void>): void => {
    // oxlint-disable-next-line vitest/expect-expect -- the bodies assert
    test(`${name}: ${title}`, async () => {
      await using storage = await open();
      await body(storage);
    });
  };

  rule("a key that was never written is undefined", async (storage) => {
    expect(await storage.get("nothing")).toBeUndefined();
  });

  rule(
    "a written value comes back with the revision of its creation and of its last write",
    async (storage) => {
      const first = await storage.transaction([], [put("a", "1")]);
      const second = await storage.transaction([], [put("a", "2")]);
      const entry = await storage.get("a");
      expect(text(entry?.value)).toBe("2");
      expect(entry?.createRevision).toBe(first.revision);
      expect(entry?.modRevision).toBe(second.revision);
      expect(second.revision).toBe(first.revision + 1);
    },
  );

  rule("a value is not changed by what the caller does with its bytes later", async (storage) => {
    const value = Buffer.from("before");
    const written = storage.transaction([], [{ type: "put", key: "a", value }]);
    value.fill(0);
    await written;
    const read = await storage.get("a");
    read?.value.fill(0);
    const listed = (await storage.list("a")).entries[0];
    listed?.value.fill(0);
    expect(text((await storage.get("a"))?.value)).toBe("before");
  });

  rule("an empty value is a value", async (storage) => {
    await storage.transaction([], [put("a", "")]);
    expect((await storage.get("a"))?.value.byteLength).toBe(0);
  });

  rule("a deleted key starts a new life when it is written again", async (storage) => {
    await storage.transaction([], [put("a", "1")]);
    await storage.transaction([], [{ type: "delete", key: "a" }]);
    expect(await storage.get("a")).toBeUndefined();
    const again = await storage.transaction([{ key: "a", modRevision: 0 }], [put("a", "2")]);
    expect(again.succeeded).toBe(true);
    expect((await storage.get("a"))?.createRevision).toBe(again.revision);
  });

  rule("deleting what does not exist and writing nothing leave the revision alone", async (storage) => {
    const { revision } = await storage.transaction([], [put("a", "1")]);
    expect(await storage.transaction([], [])).toEqual({ succeeded: true, revision });
    const deleted = await storage.transaction([], [{ type: "delete", key: "b" }]);
    expect(deleted).toEqual({ succeeded: true, revision: everyWriteCounts ? revision + 1 : revision });
  });

  rule("a transaction whose comparison fails writes nothing at all", async (storage) => {
    const { revision } = await storage.transaction([], [put("a", "1")]);
    const result = await storage.transaction(
      [
        { key: "a", modRevision: revision },
        { key: "b", modRevision: revision },
      ],
      [put("a", "2"), put("c", "2")],
    );
    expect(result).toEqual({ succeeded: false, revision });
    expect(text((await storage.get("a"))?.value)).toBe("1");
    expect(await storage.get("c")).toBeUndefined();
  });

  rule("the writes of one transaction share one revision", async (storage) => {
    const { revision } = await storage.transaction([], [put("a", "1"), put("b", "2")]);
    const { entries } = await storage.list("");
    expect(entries.map((entry) => entry.modRevision)).toEqual([revision, revision]);
  });

  rule("of 50 that compare and swap one key at once, exactly one wins", async (storage) => {
    const { revision } = await storage.transaction([], [put("token", "unused")]);
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        storage.transaction([{ key: "token", modRevision: revision }], [put("token", `taken by ${index}`)]),
      ),
    );
    const winners = results.flatMap(({ succeeded }, index) => (succeeded ? [index] : []));
    expect(winners).toHaveLength(1);
    expect(text((await storage.get("token"))?.value)).toBe(`taken by ${winners[0]}`);
  });

  rule("of 50 that create one key at once, exactly one wins", async (storage) => {
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        storage.transaction(
          [{ key: "lock", modRevision: 0 }],
          [put("lock", String(index)), put(`by/${index}`, "")],
        ),
      ),
    );
    expect(results.filter(({ succeeded }) => succeeded)).toHaveLength(1);
    expect((await storage.list("by/")).entries).toHaveLength(1);
  });

  rule("transactions are applied in the order of the calls", async (storage) => {
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, index) => storage.transaction([], [put("last", String(index))])),
    );
    expect(text((await storage.get("last"))?.value)).toBe("99");
    const revisions = results.map(({ revision }) => revision);
    expect(revisions).toEqual(revisions.toSorted((a, b) => a - b));
    expect(new Set(revisions).size).toBe(100);
  });

  rule("what was written is read at once by the one who wrote it", async (storage) => {
    for (let round = 0; round < 20; round += 1) {
      await storage.transaction([], [put("a", String(round))]);
      expect(text((await storage.get("a"))?.value)).toBe(String(round));
      expect(text((await storage.list("a")).entries[0]?.value)).toBe(String(round));
    }
  });

  rule("keys are listed in the order of their UTF-8 bytes", async (storage) => {
    const ordered = [
      "\u0001",
      " ",
      "A",
      "a",
      "a\u0000",
      "a\u0000b",
      "a/",
      "a/b",
      "aa",
      "b",
      "\u007f",
      "é",
      "日",
      "\ue000",
      "\uffff",
      "\u{10000}",
      "\u{1f600}",
      "\u{10ffff}",
    ];
    for (const key of ordered.toReversed()) await storage.transaction([], [put(key, key)]);
    const { entries } = await storage.list("");
    expect(entries.map(({ key }) => key)).toEqual(ordered);
    expect(entries.map(({ value }) => text(value))).toEqual(ordered);
  });

  rule("a list holds exactly the keys that start with the prefix", async (storage) => {
    const keys = ["a", "a/", "a/1", "a/1/x", "a/2", "a0", "b/1", "a/\u{10ffff}"];
    await storage.transaction(
      [],
      keys.map((key) => put(key, "")),
    );
    expect(await keysOf(storage, "a/")).toEqual(["a/", "a/1", "a/1/x", "a/2", "a/\u{10ffff}"]);
    expect(await keysOf(storage, "a/1")).toEqual(["a/1", "a/1/x"]);
    expect(await keysOf(storage, "c")).toEqual([]);
    expect(await keysOf(storage, "")).toHaveLength(keys.length);
  });

  rule("pages join without gap or repeat, whatever the page size", async (storage) => {
    const keys = Array.from({ length: 25 }, (_, index) => `k/${String(index).padStart(2, "0")}`);
    await storage.transaction([], [...keys.map((key) => put(key, key)), put("j", ""), put("l", "")]);
    for (const limit of [1, 2, 7, 24, 25, 26]) {
      const seen: string[] = [];
      for (let after: string | undefined; ;) {
        const page = await storage.list("k/", after === undefined ? { limit } : { after, limit });
        seen.push(...page.entries.map(({ key }) => key));
        after = page.entries.at(-1)?.key;
        if (!page.more) break;
        expect(page.entries).toHaveLength(limit);
      }
      expect(seen).toEqual(keys);
    }
  });

  rule("`after` need not exist and may lie outside the prefix", async (storage) => {
    await storage.transaction([], [put("a/1", ""), put("a/3", ""), put("b", "")]);
    const after = async (key: string): Promise<string[]> =>
      (await storage.list("a/", { after: key })).entries.map((entry) => entry.key);
    expect(await after("a/2")).toEqual(["a/3"]);
    expect(await after("A")).toEqual(["a/1", "a/3"]);
    expect(await after("a/3")).toEqual([]);
    expect(await after("b")).toEqual([]);
  });

  rule("a list returns at most the maximum and says that there is more", async (storage) => {
    const keys = Array.from({ length: MAX_LIST_LIMIT + 1 }, (_, index) => `k${index}`);
    for (let start = 0; start < keys.length; start += maxWrites) {
      await storage.transaction(
        [],
        keys.slice(start, start + maxWrites).map((key) => put(key, "")),
      );
    }
    const page = await storage.list("k");
    expect(page.entries).toHaveLength(MAX_LIST_LIMIT);
    expect(page.more).toBe(true);
  });

  rule("a watch from a list's revision gives every later change once and in order", async (storage) => {
    await storage.transaction([], [put("w/before", "0")]);
    const { revision } = await storage.list("w/");
    await storage.transaction([], [put("w/a", "1"), put("x/a", "ignored")]);
    const changes = collect(storage, "w/", revision + 1, 4);
    await storage.transaction([], [put("w/a", "2")]);
    await storage.transaction([{ key: "w/a", modRevision: 999_999 }], [put("w/a", "never")]);
    await storage.transaction([], [{ type: "delete", key: "w/a" }]);
    await storage.transaction([], [put("w/b", "3")]);
    const seen = (await changes).map(({ key, value }) => [
      key,
      value === undefined ? undefined : text(value),
    ]);
    expect(seen).toEqual([
      ["w/a", "1"],
      ["w/a", "2"],
      ["w/a", undefined],
      ["w/b", "3"],
    ]);
  });

  rule("watchers that come and go during 200 writes see each change exactly once", async (storage) => {
    const { revision } = await storage.transaction([], [put("w/start", "")]);
    const early = collect(storage, "w/", revision + 1, 200);
    const writes = Array.from({ length: 200 }, (_, index) =>
      storage.transaction([], [put(`w/${index % 7}`, String(index))]),
    );
    const late = collect(storage, "w/", revision + 1, 200);
    await Promise.all(writes);
    const last = collect(storage, "w/", revision + 1, 200);
    const expected = Array.from({ length: 200 }, (_, index) => String(index));
    for (const changes of [early, late, last]) {
      expect((await changes).map(({ value }) => text(value))).toEqual(expected);
    }
  });

  rule("a watch resumed after the last seen revision neither repeats nor skips", async (storage) => {
    const { revision } = await storage.transaction([], [put("w", "0")]);
    await storage.transaction([], [put("w", "1")]);
    const [first] = await collect(storage, "w", revision + 1, 1);
    await storage.transaction([], [put("w", "2")]);
    const [second] = await collect(storage, "w", (first?.revision ?? 0) + 1, 1);
    expect([text(first?.value), text(second?.value)]).toEqual(["1", "2"]);
  });

  rule("a watch ends when it is aborted, waiting or not", async (storage) => {
    const abort = new AbortController();
    const waiting = drain(storage.watch("w", 1, { signal: abort.signal }));
    abort.abort();
    expect(await waiting).toEqual([]);
    expect(await drain(storage.watch("w", 1, { signal: AbortSignal.abort() }))).toEqual([]);
  });

  rule("watches, however many, leave nothing with the signal that outlives them", async (storage) => {
    const { signal } = new AbortController();
    const { revision } = await storage.transaction([], [put("w", "1")]);
    for (let count = 0; count < 5; count += 1) {
      for await (const { key } of storage.watch("w", revision, { signal })) {
        expect(key).toBe("w");
        break;
      }
    }
    expect(signalLoad(signal)).toBe(0);
  });

  rule("a watch from before what is remembered is refused", async (storage) => {
    await storage.transaction([], [put("a", "1")]);
    const watch = drain(storage.watch("", 0, { signal: new AbortController().signal }));
    await expect(watch).rejects.toMatchObject({ code: "CONFLICT" });
  });

  rule("limits are exact", async (storage) => {
    const longKey = "k".repeat(MAX_KEY_BYTES);
    await storage.transaction(
      [],
      [{ type: "put", key: longKey, value: new Uint8Array(MAX_VALUE_BYTES - 64) }],
    );
    expect((await storage.get(longKey))?.value.byteLength).toBe(MAX_VALUE_BYTES - 64);
    const many = (count: number): Write[] =>
      Array.from({ length: count }, (_, index) => put(`m/${index}`, ""));
    expect((await storage.transaction([], many(maxWrites))).succeeded).toBe(true);
    await expect(storage.transaction([], many(maxWrites + 1))).rejects.toThrow(TypeError);
  });

  rule("a transaction as large as it may be is done, a larger one is refused", async (storage) => {
    const large = (bytes: number): Write[] => [
      { type: "put", key: "a", value: new Uint8Array(1_000_000) },
      { type: "put", key: "b", value: new Uint8Array(bytes - 1_000_000 - 2) },
    ];
    expect((await storage.transaction([], large(MAX_TRANSACTION_BYTES - OVERHEAD_BYTES))).succeeded).toBe(
      true,
    );
    await expect(storage.transaction([], large(MAX_TRANSACTION_BYTES + 1))).rejects.toMatchObject({
      code: "INPUT_INVALID",
    });
  });

  rule("as many comparisons as writes are possible", async (storage) => {
    const keys = Array.from({ length: maxWrites }, (_, index) => `k/${index}`);
    const created = await storage.transaction(
      keys.map((key) => ({ key, modRevision: 0 })),
      keys.map((key) => put(key, "1")),
    );
    expect(created.succeeded).toBe(true);
    const compared = await storage.transaction(
      keys.map((key) => ({ key, modRevision: created.revision })),
      [],
    );
    expect(compared).toEqual(created);
  });

  const refused: readonly [string, (storage: Storage) => Promise<unknown>, unknown][] = [
    ["an empty key", (storage) => storage.get(""), { code: "INPUT_INVALID" }],
    ["a key of 2000 bytes", (storage) => storage.get("é".repeat(1000)), { code: "INPUT_INVALID" }],
    ["half a surrogate pair in a key", (storage) => storage.get("a\ud800"), { code: "INPUT_INVALID" }],
    ["half a surrogate pair in a prefix", (storage) => storage.list("\udc00"), { code: "INPUT_INVALID" }],
    [
      "an empty key in a write",
      (storage) => storage.transaction([], [put("", "1")]),
      { code: "INPUT_INVALID" },
    ],
    [
      "a value that is too large",
      (storage) =>
        storage.transaction([], [{ type: "put", key: "a", value: new Uint8Array(MAX_VALUE_BYTES + 65) }]),
      { code: "INPUT_INVALID" },
    ],
    [
      "a key written twice",
      (storage) => storage.transaction([], [put("a", "1"), put("a", "2")]),
      { name: "TypeError" },
    ],
    ["a limit of 0", (storage) => storage.list("a", { limit: 0 }), { name: "TypeError" }],
    [
      "a limit above the maximum",
      (storage) => storage.list("a", { limit: MAX_LIST_LIMIT + 1 }),
      { name: "TypeError" },
    ],
  ];
  for (const [what, request, error] of refused) {
    rule(`${what} is refused and changes nothing`, async (storage) => {
      await expect(request(storage)).rejects.toMatchObject(error as object);
      expect((await storage.list("")).entries).toEqual([]);
    });
  }

  rule("after it is closed every call says so, and a waiting watch ends with that", async (storage) => {
    const watch = drain(storage.watch("a", 1, { signal: new AbortController().signal }));
    const ended = watch.then(
      () => "ended",
      (reason: unknown) => reason,
    );
    await storage[Symbol.asyncDispose]();
    await storage[Symbol.asyncDispose]();
    expect(await ended).toMatchObject({ name: "RksError" });
    await expect(storage.get("a")).rejects.toMatchObject({ name: "RksError" });
    await expect(storage.list("a")).rejects.toMatchObject({ name: "RksError" });
    await expect(storage.transaction([], [])).rejects.toMatchObject({ name: "RksError" });
  });

  rule("what was asked for before closing is still done", async (storage) => {
    const writes = Array.from({ length: 20 }, (_, index) => storage.transaction([], [put(`k/${index}`, "")]));
    await storage[Symbol.asyncDispose]();
    expect((await Promise.all(writes)).every(({ succeeded }) => succeeded)).toBe(true);
  });
}

/** For a transaction: write this text. */
export function put(key: string, value: string): Write {
  return { type: "put", key, value: Buffer.from(value) };
}

function text(value: Uint8Array | undefined): string {
  return value === undefined ? "(undefined)" : Buffer.from(value).toString();
}

async function keysOf(storage: Storage, prefix: string): Promise<string[]> {
  return (await storage.list(prefix)).entries.map(({ key }) => key);
}

/** The first `count` changes under a prefix from a revision on. */
export async function collect(
  storage: Storage,
  prefix: string,
  from: number,
  count: number,
): Promise<Change[]> {
  const abort = new AbortController();
  const changes: Change[] = [];
  for await (const change of storage.watch(prefix, from, { signal: abort.signal })) {
    changes.push(change);
    if (changes.length === count) abort.abort();
  }
  return changes;
}

async function drain(changes: AsyncIterable<Change>): Promise<Change[]> {
  const all: Change[] = [];
  for await (const change of changes) all.push(change);
  return all;
}
