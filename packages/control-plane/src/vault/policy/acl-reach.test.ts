import { expect, test } from "vitest";

import { Acl } from "./acl.js";
import { parsePolicy } from "./policy-parser.js";

test.each([
  { pattern: "kv/*", folder: "kv/", reaches: true },
  { pattern: "kv*", folder: "kv2/", reaches: true },
  { pattern: "*", folder: "kv/", reaches: true },
  { pattern: "kv/data/x", folder: "kv/", reaches: true },
  { pattern: "kv/", folder: "kv/", reaches: true },
  { pattern: "kv", folder: "kv/", reaches: true },
  { pattern: "+/data/x", folder: "kv/", reaches: true },
  { pattern: "+/+/x", folder: "a/b/", reaches: true },
  { pattern: "a/+/x", folder: "a/b/", reaches: true },
  { pattern: "a/b/c/*", folder: "a/b/", reaches: true },
  { pattern: "a/*", folder: "a/b/", reaches: true },
  { pattern: "a", folder: "a/b/", reaches: false },
  { pattern: "a/bc/*", folder: "a/b/", reaches: false },
  { pattern: "b/*", folder: "a/b/", reaches: false },
  { pattern: "kv2/*", folder: "kv/", reaches: false },
  { pattern: "+/x", folder: "a/b/", reaches: false },
])("a rule for $pattern reaches $folder: $reaches", ({ pattern, folder, reaches }) => {
  const rule = (capability: string): Acl =>
    new Acl([parsePolicy(`path "${pattern}" { capabilities = ["${capability}"] }`)]);
  expect(rule("read").reaches(folder)).toBe(reaches);
  expect(rule("deny").reaches(folder)).toBe(false);
});

test("root reaches everything, no policy nothing", () => {
  expect(new Acl([], { isRoot: true }).reaches("x/")).toBe(true);
  expect(new Acl([]).reaches("x/")).toBe(false);
});
