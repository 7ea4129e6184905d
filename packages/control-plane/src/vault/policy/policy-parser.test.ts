import { RksError } from "@rk8s/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";

import { parsePolicy } from "./policy-parser.js";
import { DEFAULT_POLICY_TEXT } from "./policy.js";

function shown(text: string): Record<string, string> {
  return Object.fromEntries(
    parsePolicy(text).rules.map((rule) => [rule.path, [...rule.capabilities].join(",")]),
  );
}

test.each([
  { name: "nothing", text: "", rules: {} },
  { name: "only comments", text: "# a\n// b\n/* c\n d */", rules: {} },
  { name: "one line", text: `path "a" { capabilities = ["read"] }`, rules: { a: "read" } },
  {
    name: "a trailing comma",
    text: `path "a" { capabilities = ["read", "list",] }`,
    rules: { a: "read,list" },
  },
  { name: "a single capability", text: `path "a" { capabilities = "read" }`, rules: { a: "read" } },
  { name: "a leading slash", text: `path "/a" { capabilities = ["read"] }`, rules: { a: "read" } },
  { name: "the old shorthand", text: `path "a" { policy = "read" }`, rules: { a: "read,list" } },
  { name: "a name", text: `name = "x"\npath "a" { capabilities = [] }`, rules: { a: "" } },
  { name: "escapes", text: String.raw`path "a\"b" { capabilities = ["deny"] }`, rules: { 'a"b': "deny" } },
  {
    name: "JSON",
    text: `{"path": {"a": {"capabilities": ["read"]}, "b/*": {"policy": "deny"}}}`,
    rules: { a: "read", "b/*": "deny" },
  },
  {
    name: "JSON with lists",
    text: `{"path": [{"a": [{"capabilities": ["read"]}]}, {"b": {"capabilities": ["sudo"]}}]}`,
    rules: { a: "read", b: "sudo" },
  },
  {
    name: "unusual spacing",
    text: `path"a"{capabilities=["read"]}path "b"\n{\ncapabilities\n=\n["list"]\n}`,
    rules: { a: "read", b: "list" },
  },
])("$name is understood", ({ text, rules }) => {
  expect(shown(text)).toEqual(rules);
});

test.each([
  { name: "an unknown capability", text: `path "a" { capabilities = ["write"] }` },
  { name: "a capability in upper case", text: `path "a" { capabilities = ["READ"] }` },
  { name: "a number for a capability", text: `path "a" { capabilities = [1] }` },
  { name: "an unknown shorthand", text: `path "a" { policy = "all" }` },
  {
    name: "parameters, which cannot be enforced",
    text: `path "a" { policy = "read"\n allowed_parameters = { "x" = [] } }`,
  },
  { name: "a wrapping ttl", text: `path "a" { min_wrapping_ttl = "1s" }` },
  { name: "a template", text: `path "a/{{identity.entity.id}}" { policy = "read" }` },
  { name: "* in the middle", text: `path "a/*/b" { policy = "read" }` },
  { name: "+*", text: `path "a/+*" { policy = "read" }` },
  { name: "an empty path", text: `path "" { policy = "read" }` },
  { name: "a path without a block", text: `path "a"` },
  { name: "an open block", text: `path "a" { policy = "read"` },
  { name: "an open string", text: `path "a` },
  { name: "an open comment", text: `/* path "a" { policy = "read" }` },
  { name: "another keyword", text: `role "a" { }` },
  { name: "a heredoc", text: `path <<EOF\na\nEOF\n{ }` },
  { name: "text", text: `just text` },
  { name: "a rule behind a JSON document", text: `{"path": {}}\npath "a" { policy = "deny" }` },
  { name: "two JSON documents", text: `{"path": {}} {"path": {}}` },
  { name: "broken JSON", text: `{"path": {"a": }` },
  { name: "deep nesting", text: `path "a" { capabilities = ${"[".repeat(50)} }` },
  { name: "too many bytes", text: "#".repeat(200_000) },
  { name: "too many rules", text: `path "a" { policy = "read" }\n`.repeat(1001) },
])("$name is refused", ({ text }) => {
  expect(() => parsePolicy(text)).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }));
});

test("a refusal names the line", () => {
  expect(() => parsePolicy(`# one\npath "a" {\n  capabilities = ["raed"]\n}`)).toThrow(/line 3.*"raed"/);
});

test("the default policy lets a token look after itself", () => {
  expect(shown(DEFAULT_POLICY_TEXT)).toEqual({
    "auth/token/lookup-self": "read,update",
    "auth/token/renew-self": "update",
    "auth/token/revoke-self": "update",
  });
});

function outcome(text: string): string {
  try {
    parsePolicy(text);
    return "understood";
  } catch (reason) {
    return reason instanceof RksError ? reason.code : String(reason);
  }
}

test("any text is understood or refused with a coded error", { timeout: 30_000 }, () => {
  const pieces = fc.array(
    fc.oneof(
      fc.constantFrom(
        "path ",
        `"a/*"`,
        "{",
        "}",
        "[",
        "]",
        "=",
        ",",
        "capabilities",
        `"read"`,
        "\n",
        "#",
        "/*",
        "*/",
      ),
      fc.string({ unit: "binary", maxLength: 8 }),
    ),
    { maxLength: 30 },
  );
  fc.assert(
    fc.property(pieces, (parts) => {
      expect(outcome(parts.join(""))).toMatch(/^(understood|INPUT_INVALID)$/);
    }),
    { numRuns: 1000 },
  );
});

test.each([
  ["quotes", '"'.repeat(120_000)],
  ["backslashes", `"${"\\\\".repeat(60_000)}`],
  ["open comments", "/*".repeat(60_000)],
  ["stars", `/*${"*".repeat(120_000)}`],
  ["spaces", " ".repeat(120_000)],
  ["words", `path ${"a.-".repeat(40_000)}!`],
  ["digits", `a = ${"1.".repeat(60_000)}`],
  ["braces", `a = ${"{a=".repeat(40_000)}`],
  ["commas", `{${",".repeat(120_000)}`],
  ["one string", `path "${"a/".repeat(60_000)}" { capabilities = ["read"]`],
])("a hundred kilobytes of %s are judged at once", (_name, text) => {
  const start = process.cpuUsage();
  expect(outcome(text)).toMatch(/^(understood|INPUT_INVALID)$/);
  expect(process.cpuUsage(start).user).toBeLessThan(1_000_000);
});
