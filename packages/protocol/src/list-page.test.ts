import { expect, test } from "vitest";
import { LIMITS } from "./limits.js";
import { ListPage } from "./list-page.js";

const item = (bytes: number): string => "x".repeat(bytes - 3);

test("a page holds as many items as may be in a list, and no more bytes than a message", () => {
  const many = new ListPage<number>();
  for (let i = 0; i < LIMITS.maxListItems; i++) expect(many.add(i)).toBe(true);
  expect(many.add(0)).toBe(false);
  expect(many.items).toHaveLength(LIMITS.maxListItems);

  const quarter = LIMITS.maxMessageBytes / 4;
  const large = new ListPage<string>();
  expect([large.add(item(quarter)), large.add(item(quarter)), large.add(item(quarter))]).toEqual([
    true,
    true,
    true,
  ]);
  expect(large.add(item(quarter))).toBe(false);
  expect(large.items).toHaveLength(3);
});

test("one item that fills a page alone is still told", () => {
  const page = new ListPage<string>();
  expect(page.add(item(LIMITS.maxMessageBytes))).toBe(true);
  expect(page.add("a")).toBe(false);
});
