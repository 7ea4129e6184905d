import { expect, test } from "vitest";

import { ParameterValues } from "./parameter-values.js";
import type { ParameterValue } from "./policy.js";

function listed(...values: readonly ParameterValue[]): ParameterValues {
  const subject = new ParameterValues();
  subject.add(values);
  return subject;
}

test.each<[listed: ParameterValue, value: unknown, matches: boolean]>([
  ["blue", "blue", true],
  ["blue", "Blue", false],
  ["blue", "blue ", false],
  ["", "", true],
  ["", "x", false],
  ["web-*", "web-", true],
  ["web-*", "web-7", true],
  ["web-*", "a web-7", false],
  ["*.lab", "db.lab", true],
  ["*.lab", "db.lab.", false],
  ["*mid*", "amid us", true],
  ["*mid*", "md", false],
  ["a*b", "a*b", true],
  ["a*b", "axb", false],
  ["*", "anything", true],
  ["*", "", true],
  ["*", ["anything"], false],
  ["*", null, false],
  ["1*", 17, true],
  [5, 5, true],
  [5, 5.0, true],
  [5, "5", true],
  ["5", 5, true],
  [5, "5.0", false],
  [5, 50, false],
  [true, true, true],
  [true, "true", true],
  [true, 1, false],
  [false, null, false],
  [null, null, true],
  [null, undefined, false],
  [null, "", false],
  [["a", 1], ["a", 1], true],
  [["a", 1], ["a", "1"], true],
  [["a", 1], [1, "a"], false],
  [["a"], ["a", "b"], false],
  [["a"], "a", false],
  ["a", ["a"], false],
  [{ a: [1] }, { a: [1] }, true],
  [{ a: 1 }, { a: 1, b: 2 }, false],
  [{ a: 1 }, { b: 1 }, false],
  [{}, [], false],
  [[], {}, false],
  [{}, null, false],
])("the listed %j is the value %j: %s", (one, value, isMatch) => {
  expect(listed(one).has(value)).toBe(isMatch);
});

test("names that every object has are no values of it", () => {
  const value = listed({ constructor: 1 });
  expect(value.has(JSON.parse(`{"a": 1}`))).toBe(false);
  expect(listed({ a: null }).has({ toString: null })).toBe(false);
});

test("an empty list is any value, also when it comes on top of others", () => {
  const subject = listed("a");
  subject.add([]);
  for (const value of ["b", 3, null, { a: 1 }, ["x"]]) expect(subject.has(value)).toBe(true);
});

test.each<[value: unknown, matches: boolean]>([
  ["root", true],
  ["web,root", true],
  ["web, root ,mail", true],
  [["web", "root"], true],
  [["web"], false],
  ["web,rooted", false],
  ["", false],
  [[["root"]], false],
])("one of a list is enough to be denied: %j is %s", (value, isMatch) => {
  expect(listed("root").hasAny(value)).toBe(isMatch);
});

test("a value of megabytes is compared at once", () => {
  const many = listed(...Array.from({ length: 2000 }, (_, i) => `value-${i}`), "x*");
  const start = process.cpuUsage();
  expect(many.hasAny("ab,".repeat(300_000))).toBe(false);
  expect(process.cpuUsage(start).user).toBeLessThan(2_000_000);
});
