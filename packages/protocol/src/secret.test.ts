import { format, inspect } from "node:util";
import { expect, test } from "vitest";
import { Secret } from "./secret.js";

const secret = new Secret("hunter2");

test.each([
  { name: "String", shown: String(secret) },
  { name: "concatenation", shown: "".concat(secret as unknown as string) },
  { name: "JSON", shown: JSON.stringify({ secret }) },
  { name: "inspect", shown: inspect({ secret }, { showHidden: true, depth: 9 }) },
  { name: "format", shown: format("%s %o %O %j", secret, secret, secret, secret) },
  { name: "its keys and values", shown: JSON.stringify(Object.entries(secret)) },
  { name: "an error's cause", shown: inspect(new Error("x", { cause: secret })) },
])("$name does not show the value", ({ shown }) => {
  expect(shown).not.toContain("hunter2");
});

test("reveal gives the value", () => {
  expect(secret.reveal()).toBe("hunter2");
});

test("a copy by structuredClone does not have it", () => {
  expect(inspect(structuredClone({ secret }), { showHidden: true })).not.toContain("hunter2");
});
