import fc from "fast-check";
import { expect, test } from "vitest";

import type { JsonObject, Operation } from "../backend.js";
import { Acl } from "./acl.js";
import { denialSuggestion } from "./denial.js";
import { parsePolicy } from "./policy-parser.js";

/** What becomes of a request: `allowed`, or why not. */
function judge(
  policies: readonly string[],
  request: { operation?: Operation; path?: string; data?: JsonObject; wrapTtlSeconds?: number },
): string {
  const decision = new Acl(policies.map(parsePolicy)).decide({
    operation: "update",
    path: "kiln",
    ...request,
  });
  return decision.allowed ? "allowed" : decision.denial;
}

const rule = (limits: string): string =>
  `path "kiln" { capabilities = ["create", "update", "patch", "read", "list", "scan", "delete"]\n${limits} }`;

test.each<{ name: string; limits: string; data: JsonObject; becomes: string }>([
  { name: "nothing limited", limits: "", data: { any: 1 }, becomes: "allowed" },
  {
    name: "an allowed field",
    limits: `allowed_parameters = { heat = [] }`,
    data: { heat: 9 },
    becomes: "allowed",
  },
  {
    name: "another field",
    limits: `allowed_parameters = { heat = [] }`,
    data: { heat: 9, gas: 1 },
    becomes: "parameter-denied",
  },
  { name: "no field at all", limits: `allowed_parameters = { heat = [] }`, data: {}, becomes: "allowed" },
  {
    name: "an allowed value",
    limits: `allowed_parameters = { heat = [700, "8*"] }`,
    data: { heat: "850" },
    becomes: "allowed",
  },
  {
    name: "a value not allowed",
    limits: `allowed_parameters = { heat = [700, "8*"] }`,
    data: { heat: 900 },
    becomes: "parameter-denied",
  },
  {
    name: "null for an allowed value",
    limits: `allowed_parameters = { heat = [700] }`,
    data: { heat: null },
    becomes: "parameter-denied",
  },
  {
    name: "a field in upper case",
    limits: `allowed_parameters = { Heat = [700] }`,
    data: { HEAT: 700 },
    becomes: "allowed",
  },
  {
    name: "one value, all other fields",
    limits: `allowed_parameters = { heat = [700], "*" = [] }`,
    data: { heat: 700, gas: 3 },
    becomes: "allowed",
  },
  {
    name: "another value, all other fields",
    limits: `allowed_parameters = { heat = [700], "*" = [] }`,
    data: { heat: 701, gas: 3 },
    becomes: "parameter-denied",
  },
  { name: "no list of fields", limits: `allowed_parameters = {}`, data: { gas: 3 }, becomes: "allowed" },
  {
    name: "a denied field",
    limits: `denied_parameters = { gas = [] }`,
    data: { heat: 1, gas: 3 },
    becomes: "parameter-denied",
  },
  {
    name: "a denied field in upper case",
    limits: `denied_parameters = { gas = [] }`,
    data: { Gas: 3 },
    becomes: "parameter-denied",
  },
  {
    name: "a denied field that is null",
    limits: `denied_parameters = { gas = [] }`,
    data: { gas: null },
    becomes: "parameter-denied",
  },
  {
    name: "a denied value",
    limits: `denied_parameters = { gas = [3, "m*"] }`,
    data: { gas: "3" },
    becomes: "parameter-denied",
  },
  {
    name: "another value",
    limits: `denied_parameters = { gas = [3, "m*"] }`,
    data: { gas: 4 },
    becomes: "allowed",
  },
  {
    name: "a denied value in a list",
    limits: `denied_parameters = { gas = ["m*"] }`,
    data: { gas: ["lpg", "methane"] },
    becomes: "parameter-denied",
  },
  {
    name: "a denied value in a comma list",
    limits: `denied_parameters = { gas = ["m*"] }`,
    data: { gas: "lpg, methane" },
    becomes: "parameter-denied",
  },
  {
    name: "all fields denied",
    limits: `denied_parameters = { "*" = [] }`,
    data: { x: 1 },
    becomes: "parameter-denied",
  },
  {
    name: "all fields denied, none given",
    limits: `denied_parameters = { "*" = [] }`,
    data: {},
    becomes: "allowed",
  },
  {
    name: "allowed and denied",
    limits: `allowed_parameters = { gas = [] }\ndenied_parameters = { gas = [3] }`,
    data: { gas: 3 },
    becomes: "parameter-denied",
  },
  {
    name: "what every object has",
    limits: `allowed_parameters = { heat = [] }`,
    data: { constructor: 1 },
    becomes: "parameter-denied",
  },
  {
    name: "required and given",
    limits: `required_parameters = ["Heat"]`,
    data: { heat: 1 },
    becomes: "allowed",
  },
  {
    name: "required and not given",
    limits: `required_parameters = ["heat"]`,
    data: { gas: 1 },
    becomes: "parameter-missing",
  },
  {
    name: "required and nothing given",
    limits: `required_parameters = ["heat"]`,
    data: {},
    becomes: "parameter-missing",
  },
  {
    name: "required and null",
    limits: `required_parameters = ["heat"]`,
    data: { heat: null },
    becomes: "parameter-missing",
  },
  {
    name: "required, in another case",
    limits: `required_parameters = ["heat"]`,
    data: { HEAT: 1 },
    becomes: "parameter-missing",
  },
  {
    name: "required and of every object",
    limits: `required_parameters = ["constructor"]`,
    data: {},
    becomes: "parameter-missing",
  },
])("$name: $becomes", ({ limits, data, becomes }) => {
  for (const operation of ["update", "create", "patch", "read"] as const) {
    expect(judge([rule(limits)], { operation, data })).toBe(becomes);
  }
});

test.each(["list", "scan", "delete"] as const)(
  "the fields of a %s are not judged, its wrapping is",
  (operation) => {
    const limits = `required_parameters = ["heat"]\ndenied_parameters = { "*" = [] }\nmax_wrapping_ttl = 60`;
    expect(judge([rule(limits)], { operation, data: { gas: 1 }, wrapTtlSeconds: 60 })).toBe("allowed");
    expect(judge([rule(limits)], { operation, data: { gas: 1 } })).toBe("wrapping-required");
  },
);

test.each<{ limits: string; wrapTtlSeconds: number | undefined; becomes: string }>([
  { limits: "", wrapTtlSeconds: 5, becomes: "allowed" },
  { limits: `min_wrapping_ttl = "1m"`, wrapTtlSeconds: undefined, becomes: "wrapping-required" },
  { limits: `min_wrapping_ttl = "1m"`, wrapTtlSeconds: 59, becomes: "wrapping-ttl" },
  { limits: `min_wrapping_ttl = "1m"`, wrapTtlSeconds: 60, becomes: "allowed" },
  { limits: `min_wrapping_ttl = "1m"`, wrapTtlSeconds: 1e9, becomes: "allowed" },
  { limits: `max_wrapping_ttl = 60`, wrapTtlSeconds: undefined, becomes: "wrapping-required" },
  { limits: `max_wrapping_ttl = 60`, wrapTtlSeconds: 60, becomes: "allowed" },
  { limits: `max_wrapping_ttl = 60`, wrapTtlSeconds: 61, becomes: "wrapping-ttl" },
  { limits: `max_wrapping_ttl = 60\nmin_wrapping_ttl = 60`, wrapTtlSeconds: 60, becomes: "allowed" },
  { limits: `max_wrapping_ttl = 0\nmin_wrapping_ttl = 0`, wrapTtlSeconds: undefined, becomes: "allowed" },
])(
  "with $limits an answer wrapped for $wrapTtlSeconds s is $becomes",
  ({ limits, wrapTtlSeconds, becomes }) => {
    expect(judge([rule(limits)], wrapTtlSeconds === undefined ? {} : { wrapTtlSeconds })).toBe(becomes);
  },
);

test.each<{
  name: string;
  limits: readonly [string, string];
  request: Parameters<typeof judge>[1];
  becomes: string;
}>([
  {
    name: "values allowed by two rules",
    limits: [`allowed_parameters = { a = [1] }`, `allowed_parameters = { a = [2] }`],
    request: { data: { a: 1 } },
    becomes: "allowed",
  },
  {
    name: "fields allowed by two rules",
    limits: [`allowed_parameters = { a = [1] }`, `allowed_parameters = { b = [] }`],
    request: { data: { a: 1, b: 5 } },
    becomes: "allowed",
  },
  {
    name: "any value allowed by one",
    limits: [`allowed_parameters = { a = [1] }`, `allowed_parameters = { a = [] }`],
    request: { data: { a: 9 } },
    becomes: "allowed",
  },
  {
    name: "fields limited by one",
    limits: [`allowed_parameters = { a = [] }`, ""],
    request: { data: { b: 1 } },
    becomes: "parameter-denied",
  },
  {
    name: "a field denied by one",
    limits: [`denied_parameters = { a = [1] }`, `denied_parameters = { a = [2] }`],
    request: { data: { a: 2 } },
    becomes: "parameter-denied",
  },
  {
    name: "any value denied by one",
    limits: [`denied_parameters = { a = [1] }`, `denied_parameters = { a = [] }`],
    request: { data: { a: 7 } },
    becomes: "parameter-denied",
  },
  {
    name: "fields required by two",
    limits: [`required_parameters = ["a"]`, `required_parameters = ["b"]`],
    request: { data: { a: 1 } },
    becomes: "parameter-missing",
  },
  {
    name: "the shorter maximum",
    limits: [`max_wrapping_ttl = 90`, `max_wrapping_ttl = 60`],
    request: { wrapTtlSeconds: 61 },
    becomes: "wrapping-ttl",
  },
  {
    name: "the shorter minimum",
    limits: [`min_wrapping_ttl = 90`, `min_wrapping_ttl = 60`],
    request: { wrapTtlSeconds: 60 },
    becomes: "allowed",
  },
  {
    name: "a minimum of one over the maximum of the other",
    limits: [`min_wrapping_ttl = 90`, `max_wrapping_ttl = 60`],
    request: { wrapTtlSeconds: 75 },
    becomes: "wrapping-ttl",
  },
])("$name: $becomes, in either order", ({ limits: [one, other], request, becomes }) => {
  expect(judge([rule(one), rule(other)], request)).toBe(becomes);
  expect(judge([rule(other), rule(one)], request)).toBe(becomes);
  expect(judge([`${rule(one)}\n${rule(other)}`], request)).toBe(becomes);
});

test.each<{ name: string; policy: string; becomes: string }>([
  {
    name: "nothing said of the path",
    policy: `path "oven" { capabilities = ["update"] }`,
    becomes: "no-rule",
  },
  {
    name: "another operation",
    policy: `path "kiln" { capabilities = ["read", "sudo"] }`,
    becomes: "operation",
  },
  { name: "denied", policy: `path "kiln" { capabilities = ["update", "deny"] }`, becomes: "denied" },
])("$name is told apart, and the advice says nothing of the policy", ({ policy, becomes }) => {
  expect(judge([policy], {})).toBe(becomes);
});

test("whoever has no rule and whoever is denied get the same advice", () => {
  expect(denialSuggestion("no-rule")).toBe(denialSuggestion("denied"));
});

test("deny needs no look at the fields", () => {
  const denied = `path "kiln" { capabilities = ["deny"]\n allowed_parameters = { a = [] } }`;
  expect(judge([rule(""), denied], { data: { a: 1 } })).toBe("denied");
  expect(judge([rule(`required_parameters = ["z"]`), denied], {})).toBe("denied");
});

test("another rule never allows what a rule of the same path denies, whatever the fields", () => {
  const field = fc.constantFrom("a", "B", "c");
  const value = fc.constantFrom<unknown>(1, "1", "x", null, true);
  const limits = fc
    .record({
      allowed: fc.dictionary(field, fc.array(value, { maxLength: 2 })),
      required: fc.array(field, { maxLength: 1 }),
    })
    .map(({ allowed, required }) =>
      JSON.stringify({
        path: {
          kiln: {
            capabilities: ["update"],
            allowed_parameters: lowerKeys(allowed),
            required_parameters: required,
          },
        },
      }),
    );
  fc.assert(
    fc.property(limits, fc.dictionary(field, value), (policy, data) => {
      const denies = rule(`denied_parameters = { a = [], b = ["x"] }`);
      const mustBeDenied = Object.entries(data).some(
        ([name, one]) => name === "a" || (name === "B" && one === "x"),
      );
      const isAllowed = judge([policy, denies], { data }) === "allowed";
      expect(isAllowed && mustBeDenied).toBe(false);
    }),
  );
});

function lowerKeys(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name.toLowerCase(), value]));
}
