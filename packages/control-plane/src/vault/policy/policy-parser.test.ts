import { RksError } from "@rk8s/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";

import { parsePolicy } from "./policy-parser.js";
import { DEFAULT_POLICY_TEXT } from "./builtin-policies.js";

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
  { name: "scan", text: `path "a" { capabilities = ["scan"] }`, rules: { a: "scan" } },
  { name: "a comment", text: `path "a" { policy = "deny"\n comment = "why" }`, rules: { a: "deny" } },
  {
    name: "a comment of several lines",
    text: `path "a" {\n  comment = <<-WHY\n    one }\n    two\n  WHY\n  capabilities = ["read"]\n}`,
    rules: { a: "read" },
  },
  {
    name: "a template",
    text: `path "a/{{ identity.entity.id }}" { policy = "deny" }`,
    rules: { "a/{{ identity.entity.id }}": "deny" },
  },
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
  { name: "an expiration", text: `path "a" { policy = "read"\n expiration = "2030-01-01" }` },
  { name: "a limit of pages", text: `path "a" { policy = "read"\n pagination_limit = 5 }` },
  { name: "a second factor", text: `path "a" { policy = "read"\n mfa_methods = ["x"] }` },
  { name: "a control group", text: `path "a" { policy = "read"\n control_group = { ttl = "1h" } }` },
  { name: "a misspelled field", text: `path "a" { policy = "read"\n denied_parameter = { "x" = [] } }` },
  { name: "a comment that is a number", text: `path "a" { policy = "read"\n comment = 5 }` },
  { name: "a field given twice", text: `path "a" { capabilities = ["deny"]\n capabilities = ["read"] }` },
  { name: "a name given twice", text: `path "a" { allowed_parameters = { "x" = [1] "X" = [2] } }` },
  { name: "a pattern for a name", text: `path "a" { denied_parameters = { "pass*" = [] } }` },
  { name: "a pattern for a required name", text: `path "a" { required_parameters = ["*"] }` },
  { name: "values for every field", text: `path "a" { denied_parameters = { "*" = ["x"] } }` },
  { name: "parameters as a list", text: `path "a" { allowed_parameters = ["x"] }` },
  { name: "required parameters as a block", text: `path "a" { required_parameters = { "x" = [] } }` },
  { name: "a required parameter without a name", text: `path "a" { required_parameters = [""] }` },
  {
    name: "a template in a value",
    text: `path "a" { denied_parameters = { "x" = ["{{identity.entity.id}}"] } }`,
  },
  { name: "a negative wrapping time", text: `path "a" { min_wrapping_ttl = -1 }` },
  { name: "half a second of wrapping", text: `path "a" { min_wrapping_ttl = 0.5 }` },
  { name: "a wrapping time that is a word", text: `path "a" { max_wrapping_ttl = "soon" }` },
  { name: "a wrapping time beyond all use", text: `path "a" { max_wrapping_ttl = 1e12 }` },
  {
    name: "a minimum over the maximum",
    text: `path "a" { max_wrapping_ttl = "1m"\n min_wrapping_ttl = 61 }`,
  },
  { name: "a number without end", text: `path "a" { min_wrapping_ttl = 1e999 }` },
  { name: "the groups of an identity", text: `path "a/{{identity.groups.ids.x.name}}" { policy = "read" }` },
  { name: "the time", text: `path "a/{{time.now}}" { policy = "read" }` },
  { name: "all metadata of an identity", text: `path "a/{{identity.entity.metadata}}" { policy = "read" }` },
  { name: "an empty template", text: `path "a/{{}}" { policy = "read" }` },
  { name: "an open template", text: `path "a/{{identity.entity.id" { policy = "read" }` },
  { name: "a closed template", text: `path "a/identity.entity.id}}" { policy = "read" }` },
  {
    name: "a template in a template",
    text: `path "{{identity.entity.{{identity.entity.id}}}}" { policy = "read" }`,
  },
  { name: "* after a template inside a path", text: `path "{{identity.entity.id}}*/b" { policy = "read" }` },
  { name: "a path longer than any", text: `path "${"a/".repeat(600)}" { policy = "read" }` },
  { name: "null for capabilities", text: `{"path": {"a": {"capabilities": null}}}` },
  { name: "null for a rule", text: `{"path": {"a": null}}` },
  { name: "a label where none belongs", text: `path "a" { capabilities "x" { } }` },
  { name: "a heredoc without its end", text: `path "a" { comment = <<EOF\na\nEOFF\n }` },
  { name: "* in the middle", text: `path "a/*/b" { policy = "read" }` },
  { name: "+*", text: `path "a/+*" { policy = "read" }` },
  { name: "an empty path", text: `path "" { policy = "read" }` },
  { name: "a path without a block", text: `path "a"` },
  { name: "an open block", text: `path "a" { policy = "read"` },
  { name: "an open string", text: `path "a` },
  { name: "an open comment", text: `/* path "a" { policy = "read" }` },
  { name: "another keyword", text: `role "a" { }` },
  { name: "a heredoc for a path", text: `path <<EOF\na\nEOF\n{ }` },
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

test.each([
  {
    name: "HCL",
    text: `path "a" {
      capabilities = ["create"]
      allowed_parameters = { "Size" = [1, -2.5, 1e3], "*" = [] }
      denied_parameters { word = "one" flag = [true, { b = ["x"] }] }
      required_parameters = ["ID", "size"]
      min_wrapping_ttl = "90"
      max_wrapping_ttl = "1h30m"
    }`,
  },
  {
    name: "JSON",
    text: JSON.stringify({
      path: {
        a: {
          capabilities: ["create"],
          allowed_parameters: { Size: [1, -2.5, 1000], "*": [] },
          denied_parameters: { word: "one", flag: [true, { b: ["x"] }] },
          required_parameters: ["ID", "size"],
          min_wrapping_ttl: 90,
          max_wrapping_ttl: "5400s",
        },
      },
    }),
  },
])("the limits of a rule are read from $name", ({ text }) => {
  expect(parsePolicy(text).rules).toEqual([
    {
      path: "a",
      capabilities: new Set(["create"]),
      allowedParameters: new Map<string, unknown>([
        ["size", [1, -2.5, 1000]],
        ["*", []],
      ]),
      deniedParameters: new Map<string, unknown>([
        ["word", ["one"]],
        ["flag", [true, { b: ["x"] }]],
      ]),
      requiredParameters: ["id", "size"],
      minWrapTtlSeconds: 90,
      maxWrapTtlSeconds: 5400,
    },
  ]);
});

test("a refused field is named with its line", () => {
  const text = `path "a" {\n  policy = "read"\n  pagination_limit = 5\n}`;
  expect(() => parsePolicy(text)).toThrow(/line 3.*"pagination_limit"/);
});

test("the default policy lets a token look after itself and its holder", () => {
  expect(shown(DEFAULT_POLICY_TEXT)).toEqual({
    "auth/token/lookup-self": "read,update",
    "auth/token/renew-self": "update",
    "auth/token/revoke-self": "update",
    "sys/capabilities-self": "update",
    "sys/internal/ui/resultant-acl": "read",
    "identity/entity/id/{{identity.entity.id}}": "read",
    "identity/entity/name/{{identity.entity.name}}": "read",
    "sys/leases/lookup": "update",
    "sys/leases/renew": "update",
    "cubbyhole/*": "create,read,update,delete,list",
    "sys/wrapping/wrap": "update",
    "sys/wrapping/lookup": "update",
    "sys/wrapping/unwrap": "update",
  });
});

function outcome(text: string): string {
  try {
    parsePolicy(text);
    return "understood";
  } catch (reason) {
    if (!(reason instanceof RksError)) return String(reason);
    return reason.code === "INPUT_INVALID" &&
      !/^policy line \d+: |^a policy (is|has) at most /.test(reason.message)
      ? "no line"
      : reason.code;
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
        ":",
        "capabilities",
        "policy",
        "allowed_parameters",
        "denied_parameters",
        "required_parameters",
        "min_wrapping_ttl",
        "comment",
        `"read"`,
        `"{{identity.entity.id}}"`,
        `"{{"`,
        "<<EOF\n",
        "\nEOF\n",
        "null",
        "true",
        "-1.5e3",
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
  ["heredocs", `a = ${"<<A\n".repeat(30_000)}`],
  ["parameters", `path "a" { denied_parameters = {${'"x" = [1]\n'.repeat(10_000)}} }`],
  ["templates", `path "${"{{identity.entity.id}}".repeat(5000)}" { policy = "read" }`],
  ["commas", `{${",".repeat(120_000)}`],
  ["one string", `path "${"a/".repeat(60_000)}" { capabilities = ["read"]`],
])("a hundred kilobytes of %s are judged at once", (_name, text) => {
  const start = process.cpuUsage();
  expect(outcome(text)).toMatch(/^(understood|INPUT_INVALID)$/);
  expect(process.cpuUsage(start).user).toBeLessThan(1_000_000);
});
