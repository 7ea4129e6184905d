import fc from "fast-check";
import { expect, test } from "vitest";

import { Acl } from "./acl.js";
import type { Operation } from "./backend.js";
import { parsePolicy } from "./policy-parser.js";

const first = parsePolicy(`
  path "team/*"                { policy = "sudo" }
  path "web/*"                 { policy = "write" }
  path "web/logs/*" {
    policy       = "read"
    capabilities = ["update", "sudo"]
  }
  path "web/logs/secret/*"     { policy = "sudo" }
  path "db/*"                  { policy = "read" }
  path "db/admin/*"            { policy = "deny" }
  path "sys/*"                 { policy = "deny" }
  path "one/exact"             { capabilities = ["read", "create", "sudo"] }
  path "pki/+/issue"           { capabilities = ["update"] }
  path "+/segment/first"       { capabilities = ["read"] }
  path "last/segment/+"        { capabilities = ["read"] }
  path "a/+/b/+/*"             { capabilities = ["read"] }
  path "a/+/g/+/end*"          { capabilities = ["read"] }
  path "n/1/*"                 { capabilities = ["create"] }
  path "n/1/+"                 { capabilities = ["read"] }
  path "n/1/+/+"               { capabilities = ["update"] }
`);
const second = parsePolicy(`
  path "team/hidden/*"         { policy = "deny" }
  path "web/logs/secret/*" {
    policy       = "deny"
    capabilities = ["read", "sudo"]
  }
  path "db/*"                  { policy = "write" }
  path "sys/seal"              { policy = "sudo" }
  path "one/exact"             { capabilities = ["deny"] }
`);

test.each<[Operation, string, boolean, boolean]>([
  ["read", "nowhere", false, false],
  ["read", "team/x", true, true],
  ["update", "team/x", true, true],
  ["delete", "web/x", true, false],
  ["list", "web/logs/x", true, true],
  ["update", "web/logs/x", true, true],
  ["delete", "web/logs/x", false, true],
  ["update", "web/logs/secret/x", true, true],
  ["update", "db/x", false, false],
  ["list", "db/x", true, false],
  ["read", "db/admin/x", false, false],
  ["read", "sys/health", false, false],
  ["create", "one/exact", true, true],
  ["update", "one/exact", false, true],
  ["read", "one/exact/more", false, false],
  ["update", "pki/web/issue", true, false],
  ["update", "pki/web/more/issue", false, false],
  ["update", "pki/issue", false, false],
  ["read", "x/segment/first", true, false],
  ["read", "last/segment/x", true, false],
  ["read", "last/segment/x/", false, false],
  ["read", "a/x/b/y/z", true, false],
  ["read", "a/x/b/y/", true, false],
  ["read", "a/x/b/y", false, false],
  ["read", "a/x/g/y/ending", true, false],
  ["read", "a/x/g/y/en", false, false],
  ["read", "n/1/2", true, false],
  ["create", "n/1/2", false, false],
  ["update", "n/1/2/3", true, false],
  ["create", "n/1/2/3/4", true, false],
])("one policy: %s on %s is allowed: %s, with sudo: %s", (operation, path, allowed, sudo) => {
  expect(new Acl([first]).decide(operation, path)).toEqual({ allowed, sudo });
});

test.each<[Operation, string, boolean]>([
  ["read", "team/x", true],
  ["read", "team/hidden/x", false],
  ["read", "web/logs/secret/x", false],
  ["delete", "db/x", true],
  ["read", "db/admin/x", false],
  ["update", "sys/seal", true],
  ["update", "sys/mounts/x", false],
  ["read", "one/exact", false],
])("two policies: %s on %s is allowed: %s", (operation, path, allowed) => {
  expect(new Acl([first, second]).decide(operation, path).allowed).toBe(allowed);
  expect(new Acl([second, first]).decide(operation, path).allowed).toBe(allowed);
});

test.each([
  { name: "fewer + over more", less: "+/*", more: "*" },
  { name: "the later first wildcard", less: "+/*", more: "foo/+/*" },
  { name: "a whole path over a prefix", less: "foo/+/+/*", more: "foo/+/bar/baz" },
  { name: "fewer + at the same place", less: "foo/+/+/baz", more: "foo/+/bar/baz" },
  { name: "the longer prefix", less: "foo/bar/+/b*", more: "foo/bar/+/ba*" },
  { name: "an exact path over everything", less: "foo/bar/bar/*", more: "foo/bar/bar/baz" },
])("$name is more specific", ({ less, more }) => {
  const policy = parsePolicy(
    `path "${less}" { capabilities = ["read"] } path "${more}" { capabilities = ["update"] }`,
  );
  const acl = new Acl([policy]);
  expect(acl.decide("update", "foo/bar/bar/baz").allowed).toBe(true);
  expect(acl.decide("read", "foo/bar/bar/baz").allowed).toBe(false);
});

test.each([
  { path: "kv/", allowed: false },
  { path: "kv/open", allowed: true },
  { path: "kv/open/", allowed: true },
  { path: "kv/open/sub", allowed: true },
  { path: "kv/open/private", allowed: false },
  { path: "kv/open/private/", allowed: false },
  { path: "kv/open/private/sub", allowed: false },
  { path: "kv/open/private/granted", allowed: true },
  { path: "kv/file", allowed: true },
  { path: "kv/file/", allowed: true },
])("a list of $path is allowed: $allowed, with the slash or without", ({ path, allowed }) => {
  const acl = new Acl([
    parsePolicy(`
      path "kv/open/*"                 { capabilities = ["list"] }
      path "kv/open/private/*"         { capabilities = ["deny"] }
      path "kv/open/private/granted/*" { capabilities = ["list"] }
      path "kv/file"                   { capabilities = ["list"] }
    `),
  ]);
  expect(acl.decide("list", path).allowed).toBe(allowed);
});

test("no policy allows nothing, and root everything", () => {
  expect(new Acl([]).decide("read", "a")).toEqual({ allowed: false, sudo: false });
  expect(new Acl([], { isRoot: true }).decide("delete", "sys/anything")).toEqual({
    allowed: true,
    sudo: true,
  });
});

const segment = fc.constantFrom("a", "b", "+");
const rule = fc.record({
  path: fc
    .tuple(fc.array(segment, { minLength: 1, maxLength: 4 }), fc.constantFrom("", "/*", "*"))
    .map(([segments, end]) =>
      end === "*" && segments.at(-1) === "+" ? segments.join("/") : segments.join("/") + end,
    ),
  capability: fc.constantFrom("read", "update", "deny"),
});
const requested = fc
  .array(fc.constantFrom("a", "b"), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join("/"));
const written = (rules: readonly { path: string; capability: string }[]): string =>
  rules.map(({ path, capability }) => `path "${path}" { capabilities = ["${capability}"] }`).join("\n");

test("the order of policies and rules never matters", () => {
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 8 }), requested, (rules, path) => {
      const forwards = new Acl([parsePolicy(written(rules))]);
      const apart = new Acl(rules.toReversed().map((one) => parsePolicy(written([one]))));
      expect(apart.decide("read", path)).toEqual(forwards.decide("read", path));
    }),
  );
});

test("a path that is denied exactly is never allowed, whatever else is written", () => {
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 8 }), requested, (rules, path) => {
      const acl = new Acl([parsePolicy(written([...rules, { path, capability: "deny" }]))]);
      for (const operation of ["read", "update", "delete", "create"] as const) {
        expect(acl.decide(operation, path).allowed).toBe(false);
      }
    }),
  );
});
