import { collect } from "@rk8s/storage/testing";
import { expect, test } from "vitest";

import { open, put, text } from "./testing/open.js";
import type { SqlServer } from "./testing/sql-server.js";

/** Several processes on one database, of which each has a storage of its own. */
export function concurrencyTests(server: () => SqlServer): void {
  test("of 50 that take one token over two storages, exactly one wins", async () => {
    const url = await server().newDatabase();
    await using one = await open(url);
    await using other = await open(url);
    for (let round = 0; round < 5; round += 1) {
      const token = `token/${round}`;
      const { revision: modRevision } = await one.transaction([], [put(token, "unused")]);
      const results = await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          (index % 2 === 0 ? one : other).transaction(
            [{ key: token, modRevision }],
            [put(token, String(index)), put(`${token}/by/${index}`, "")],
          ),
        ),
      );
      const winners = results.flatMap(({ succeeded }, index) => (succeeded ? [String(index)] : []));
      expect(winners).toHaveLength(1);
      expect(text((await other.get(token))?.value)).toBe(winners[0]);
      expect((await one.list(`${token}/by/`)).entries).toHaveLength(1);
    }
  });

  test("watchers of two storages see the writes of both, dense, in one order, each once", async () => {
    const url = await server().newDatabase();
    await using one = await open(url);
    await using other = await open(url);
    const count = 300;
    const watches = [one, other, one].map((storage) => collect(storage, "w/", 1, 2 * count));
    const write = async (storage: typeof one, name: string): Promise<void> => {
      for (let index = 0; index < count; index += 10) {
        await Promise.all(
          Array.from({ length: 10 }, (_, offset) =>
            storage.transaction([], [put(`w/${offset % 3}`, `${name} ${index + offset}`)]),
          ),
        );
      }
    };
    await Promise.all([write(one, "one"), write(other, "other")]);
    const [first, ...others] = await Promise.all(watches);
    expect(first?.map(({ revision }) => revision)).toEqual(
      Array.from({ length: 2 * count }, (_, index) => index + 1),
    );
    for (const seen of others) expect(seen).toEqual(first);
    for (const name of ["one", "other"]) {
      const own = first?.map(({ value }) => text(value)).filter((value) => value?.startsWith(`${name} `));
      expect(own).toEqual(Array.from({ length: count }, (_, index) => `${name} ${index}`));
    }
  });

  test("a list and its revision are of the same moment while others write", async () => {
    const url = await server().newDatabase();
    await using one = await open(url);
    await using other = await open(url);
    const writing = (async (): Promise<void> => {
      for (let index = 0; index < 60; index += 1) await one.transaction([], [put("a", ""), put("b", "")]);
    })();
    for (let count = 0; count < 60; count += 1) {
      const { entries, revision } = await other.list("");
      expect(new Set(entries.map(({ modRevision }) => modRevision)).size).toBeLessThanOrEqual(1);
      expect(entries[0]?.modRevision ?? 0).toBe(revision);
    }
    await writing;
  });

  test("ten that open a new database at once all find one set of tables", async () => {
    const url = await server().newDatabase();
    const storages = await Promise.all(Array.from({ length: 10 }, () => open(url)));
    const results = await Promise.all(
      storages.map((storage, index) => storage.transaction([], [put(`k/${index}`, "")])),
    );
    expect(results.map(({ revision }) => revision).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 10 }, (_, index) => index + 1),
    );
    await Promise.all(storages.map((storage) => storage[Symbol.asyncDispose]()));
  });
}
