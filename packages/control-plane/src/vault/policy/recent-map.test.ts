import { expect, test } from "vitest";

import { RecentMap } from "./recent-map.js";

test("what was not asked for the longest is dropped when there is too much", () => {
  const map = new RecentMap<number>(3);
  for (const [index, key] of ["a", "b", "c"].entries()) map.set(key, index);
  expect(map.get("a")).toBe(0);
  map.set("d", 3);
  map.set("c", 22);
  map.set("e", 4);
  expect(["a", "b", "c", "d", "e"].map((key) => map.get(key))).toEqual([undefined, undefined, 22, 3, 4]);
  map.delete("c");
  expect(map.get("c")).toBeUndefined();
  map.clear();
  expect(map.get("e")).toBeUndefined();
});
