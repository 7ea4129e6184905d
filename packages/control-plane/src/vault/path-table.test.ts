import { expect, test } from "vitest";

import type { JsonObject } from "./backend.js";
import { mergePatch } from "./path-table.js";

const parse = (json: string): JsonObject => JSON.parse(json) as JsonObject;

test.each([
  { name: "a member is added", stored: `{"a":1}`, patch: `{"b":2}`, merged: `{"a":1,"b":2}` },
  { name: "null takes away", stored: `{"a":1,"b":2}`, patch: `{"a":null,"c":null}`, merged: `{"b":2}` },
  {
    name: "objects are merged",
    stored: `{"a":{"b":1,"c":2}}`,
    patch: `{"a":{"c":3}}`,
    merged: `{"a":{"b":1,"c":3}}`,
  },
  { name: "a list is replaced", stored: `{"a":[1,2]}`, patch: `{"a":[3]}`, merged: `{"a":[3]}` },
  { name: "nulls within are left out", stored: `{}`, patch: `{"a":{"b":null}}`, merged: `{"a":{}}` },
  {
    name: "__proto__ is a member",
    stored: `{}`,
    patch: `{"__proto__":{"a":1}}`,
    merged: `{"__proto__":{"a":1}}`,
  },
  {
    name: "__proto__ is merged",
    stored: `{"__proto__":{"a":1}}`,
    patch: `{"__proto__":{"b":2}}`,
    merged: `{"__proto__":{"a":1,"b":2}}`,
  },
  { name: "__proto__ is taken away", stored: `{"__proto__":1}`, patch: `{"__proto__":null}`, merged: `{}` },
  {
    name: "constructor is new",
    stored: `{}`,
    patch: `{"constructor":{"a":1}}`,
    merged: `{"constructor":{"a":1}}`,
  },
])("merging a patch: $name, and nothing is inherited", ({ stored, patch, merged }) => {
  const result = mergePatch(parse(stored), parse(patch));
  expect(JSON.stringify(result)).toBe(merged);
  expect(Object.getPrototypeOf(result)).toBe(Object.prototype);
  expect(Object.hasOwn(Object.prototype, "a")).toBe(false);
});
