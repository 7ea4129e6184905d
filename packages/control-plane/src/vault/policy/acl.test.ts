import fc from "fast-check";
import { expect, test } from "vitest";

import { Acl } from "./acl.js";
import type { Operation } from "../backend.js";
import { parsePolicy } from "./policy-parser.js";

/** What rules in HCL, each text a policy of its own, decide. */
function decide(policies: readonly string[], operation: Operation, path: string): string {
  const acl = new Acl(policies.map(parsePolicy));
  const { allowed, sudo } = acl.decide({ operation, path });
  return `${allowed ? "allowed" : "denied"}${sudo ? " sudo" : ""}`;
}

const grant = (path: string, ...capabilities: string[]): string =>
  `path "${path}" { capabilities = ${JSON.stringify(capabilities)} }`;

// What an auditor of a certificate authority may do: look at everything, touch nothing.
const AUDITOR = [
  grant("ca/certs/*", "read", "list"),
  grant("ca/certs/by-team/+/pending", "update"),
  grant("ca/certs/keys/*", "deny"),
  grant("ca/tidy", "update", "sudo"),
].join("\n");

test.each<[Operation, string, string]>([
  ["read", "ca/certs/17-ab", "allowed"],
  ["list", "ca/certs/", "allowed"],
  ["delete", "ca/certs/17-ab", "denied"],
  ["read", "ca/certs", "denied"],
  ["read", "ca/roles/mail", "denied"],
  ["update", "ca/certs/by-team/red/pending", "allowed"],
  ["read", "ca/certs/by-team/red/pending", "denied"],
  ["update", "ca/certs/by-team/red/blue/pending", "denied"],
  ["read", "ca/certs/by-team/red/blue/pending", "allowed"],
  ["read", "ca/certs/keys/17-ab", "denied"],
  ["list", "ca/certs/keys/", "denied"],
  ["update", "ca/tidy", "allowed sudo"],
  ["read", "ca/tidy", "denied sudo"],
])("an auditor's %s of %s is %s", (operation, path, decision) => {
  expect(decide([AUDITOR], operation, path)).toBe(decision);
});

test.each<{ shorthand: string; may: readonly Operation[] }>([
  { shorthand: "read", may: ["read", "list"] },
  { shorthand: "write", may: ["create", "read", "update", "delete", "list"] },
  { shorthand: "deny", may: [] },
])("the old shorthand $shorthand allows $may and no sudo", ({ shorthand, may }) => {
  const policy = `path "attic/box" { policy = "${shorthand}" }`;
  for (const operation of ["create", "read", "update", "delete", "list"] as const) {
    const expected = may.includes(operation) ? "allowed" : "denied";
    expect(decide([policy], operation, "attic/box")).toBe(expected);
  }
});

test.each<[pattern: string, path: string, matches: boolean]>([
  ["mail/box-*", "mail/box-", true],
  ["mail/box-*", "mail/box-7/in", true],
  ["mail/box-*", "mail/bo", false],
  ["mail/+", "mail/anna", true],
  ["mail/+", "mail", false],
  ["mail/+", "mail/anna/in", false],
  ["+/in", "mail/in", true],
  ["+/in", "mail/anna/in", false],
  ["mail/+/in/+", "mail/anna/in/3", true],
  ["mail/+/in/+", "mail/anna/out/3", false],
  ["mail/+/in-*", "mail/anna/in-box/3/4", true],
  ["mail/+/in-*", "mail/anna/out", false],
  ["mail/+/*", "mail/anna/", true],
  ["mail/+/*", "mail/anna", false],
  ["*", "mail", true],
  ["Mail/*", "mail/anna", false],
])("the pattern %s matches %s: %s", (pattern, path, matches) => {
  expect(decide([grant(pattern, "read")], "read", path)).toBe(matches ? "allowed" : "denied");
});

test.each<[operation: Operation, path: string, decision: string]>([
  ["read", "lab/notes/1", "allowed"],
  ["update", "lab/notes/1", "allowed"],
  ["delete", "lab/notes/1", "denied"],
  ["read", "lab/payroll", "denied"],
  ["read", "lab/notes/private/1", "denied"],
  ["update", "lab/reset", "allowed sudo"],
])(
  "what several policies say of one pattern is added up, deny wins: %s of %s is %s",
  (operation, path, decision) => {
    const reader = `${grant("lab/notes/*", "read")}\n${grant("lab/payroll", "read")}\n${grant("lab/*", "deny")}`;
    const writer = `${grant("lab/notes/*", "update")}\n${grant("lab/notes/private/*", "deny")}`;
    const keeper = `${grant("lab/payroll", "deny", "read")}\n${grant("lab/reset", "update", "sudo")}`;
    const orders = [
      [reader, writer, keeper],
      [keeper, writer, reader],
      [[reader, writer, keeper].join("\n")],
    ];
    for (const policies of orders) expect(decide(policies, operation, path)).toBe(decision);
  },
);

// Every rule is for the same path and is beaten by each that follows.
const LADDER = [
  "+/*",
  "shop/+/+/cart/*",
  "shop/+/basket/*",
  "shop/+/basket/c*",
  "shop/*",
  "shop/+/+/cart/9",
  "shop/+/basket/cart/9",
  "shop/de*",
  "shop/de/*",
  "shop/de/basket/+/9",
  "shop/de/basket/cart/9",
];

test("the more a rule says from the left the more it counts, up to the exact path", () => {
  for (const [index, less] of LADDER.entries()) {
    for (const more of LADDER.slice(index + 1)) {
      const policy = `${grant(less, "read")}\n${grant(more, "update")}`;
      const decisions = (["update", "read"] as const).map((operation) =>
        decide([policy], operation, "shop/de/basket/cart/9"),
      );
      expect([less, more, ...decisions]).toEqual([less, more, "allowed", "denied"]);
    }
  }
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
  expect(acl.decide({ operation: "list", path }).allowed).toBe(allowed);
});

// GHSA-xp3c-3jw3-4vcr: a list asked for the folder without its slash was judged by the rule for the wider folder.
test.each(["list", "scan"] as const)(
  "a %s of a denied folder is denied however it is spelled",
  (operation) => {
    const shut = [
      `path "team/*" { capabilities = ["list", "scan", "read"] }\npath "team/vault/*" { capabilities = ["deny"] }`,
      `path "team/+" { capabilities = ["list", "scan"] }\npath "team/vault/*" { capabilities = ["deny"] }`,
      `path "+/*" { capabilities = ["list", "scan"] }\npath "team/+/*" { capabilities = ["deny"] }`,
      `path "team/*" { capabilities = ["list", "scan"] }\npath "team/vault/" { capabilities = ["deny"] }`,
    ];
    for (const policy of shut) {
      for (const path of ["team/vault", "team/vault/"]) {
        expect([policy, decide([policy], operation, path)]).toEqual([policy, "denied"]);
      }
    }
  },
);

test.each<{ policy: readonly string[]; path: string; decision: string }>([
  { policy: [grant("kv/+", "read")], path: "kv/a/", decision: "no-rule" },
  { policy: [grant("kv/+/", "read")], path: "kv/a/", decision: "allowed" },
  { policy: [grant("kv/+/", "read")], path: "kv/a", decision: "no-rule" },
  { policy: [grant("kv/a", "read")], path: "kv/a/", decision: "no-rule" },
  { policy: [grant("kv/*", "read")], path: "kv/a/", decision: "allowed" },
  { policy: [grant("kv/*", "read"), grant("kv/a", "deny")], path: "kv/a/", decision: "denied" },
  { policy: [grant("kv/*", "read"), grant("kv/+", "deny")], path: "kv/a/", decision: "denied" },
  { policy: [grant("kv/*", "read"), grant("kv/a", "update")], path: "kv/a/", decision: "operation" },
  { policy: [grant("kv/a/", "read"), grant("kv/a*", "deny")], path: "kv/a/", decision: "denied" },
  { policy: [grant("kv/*", "read"), grant("kv/a/", "deny")], path: "kv/a", decision: "allowed" },
  { policy: [grant("kv/*", "read", "sudo")], path: "kv/a/", decision: "allowed with sudo" },
  { policy: [grant("kv/*", "read", "sudo"), grant("kv/a", "read")], path: "kv/a/", decision: "allowed" },
])("with $policy a read of $path is: $decision", ({ policy, path, decision }) => {
  const decided = new Acl(policy.map(parsePolicy)).decide({ operation: "read", path });
  const words = decided.allowed ? `allowed${decided.sudo ? " with sudo" : ""}` : decided.denial;
  expect(words).toBe(decision);
});

test("scan and patch are granted by their own names and by no other", () => {
  const all = ["create", "read", "update", "patch", "delete", "list", "scan"] as const;
  for (const granted of all) {
    const may = all.filter((operation) => decide([grant("a/b", granted)], operation, "a/b") === "allowed");
    expect(may).toEqual([granted]);
  }
});

test("help is for everybody who holds a token, also where all is denied", () => {
  for (const policy of ["", grant("*", "deny")]) {
    expect(decide([policy], "help", "sys/mounts")).toBe("allowed");
  }
});

test.each<{ path: string; capabilities: readonly string[] }>([
  { path: "lab/notes/1", capabilities: ["create", "list", "read", "scan", "sudo", "update"] },
  { path: "/lab/notes/1", capabilities: ["create", "list", "read", "scan", "sudo", "update"] },
  { path: "lab/notes/", capabilities: ["create", "list", "read", "scan", "sudo", "update"] },
  { path: "lab/payroll", capabilities: ["read"] },
  { path: "lab/payroll/", capabilities: ["deny"] },
  { path: "lab/payroll/june", capabilities: ["deny"] },
  { path: "lab/empty", capabilities: ["deny"] },
  { path: "elsewhere", capabilities: ["deny"] },
  { path: "", capabilities: ["deny"] },
  { path: "sys/policies/acl/Admin", capabilities: ["patch"] },
  { path: "sys/policies/acl/admin", capabilities: ["patch"] },
  { path: `lab/notes/${"x".repeat(1000)}`, capabilities: ["deny"] },
])("the capabilities on $path are $capabilities", ({ path, capabilities }) => {
  const acl = new Acl([
    parsePolicy(
      [
        grant("lab/notes/*", "update", "create", "sudo", "scan", "read", "list"),
        grant("lab/+", "read", "list"),
        grant("lab/payroll/*", "deny", "read"),
        grant("lab/empty"),
        grant("sys/policies/acl/Admin", "patch"),
      ].join("\n"),
    ),
  ]);
  expect(acl.capabilities(path)).toEqual(capabilities);
});

test("the capabilities of root are root, those of no policy deny", () => {
  expect(new Acl([], { isRoot: true }).capabilities("any/path")).toEqual(["root"]);
  expect(new Acl([]).capabilities("any/path")).toEqual(["deny"]);
});

test("rules on top of others decide as if all had been given together", () => {
  fc.assert(
    fc.property(
      fc.array(rule, { maxLength: 6 }),
      fc.array(rule, { maxLength: 6 }),
      requested,
      (some, more, path) => {
        const together = new Acl([parsePolicy(written([...some, ...more]))]);
        const base = new Acl([parsePolicy(written(some))]);
        const onTop = new Acl([parsePolicy(written(more))], { base });
        for (const operation of ["read", "update", "list"] as const) {
          expect(onTop.decide({ operation, path })).toEqual(together.decide({ operation, path }));
        }
        expect(onTop.describe()).toEqual(together.describe());
      },
    ),
  );
});

test("a user interface is told the exact and the prefix rules", () => {
  const acl = new Acl([parsePolicy(`${AUDITOR}\n${grant("lab/empty")}`)]);
  expect(acl.describe()).toEqual({
    root: false,
    exact_paths: {
      "ca/tidy": { capabilities: ["sudo", "update"] },
      "lab/empty": { capabilities: ["deny"] },
    },
    glob_paths: {
      "ca/certs/": { capabilities: ["list", "read"] },
      "ca/certs/keys/": { capabilities: ["deny"] },
    },
  });
  expect(new Acl([], { isRoot: true }).describe()).toEqual({ root: true });
});

test("no policy allows nothing, and root everything", () => {
  const nothing = new Acl([]).decide({ operation: "read", path: "a" });
  expect(nothing).toEqual({ allowed: false, sudo: false, denial: "no-rule" });
  const everything = new Acl([], { isRoot: true }).decide({ operation: "delete", path: "sys/anything" });
  expect(everything).toEqual({ allowed: true, sudo: true });
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
      for (const operation of ["read", "list"] as const) {
        expect(apart.decide({ operation, path })).toEqual(forwards.decide({ operation, path }));
      }
      expect(apart.capabilities(path)).toEqual(forwards.capabilities(path));
    }),
  );
});

test("a path that is denied exactly is never allowed, whatever else is written", () => {
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 8 }), requested, (rules, path) => {
      const acl = new Acl([parsePolicy(written([...rules, { path, capability: "deny" }]))]);
      for (const operation of ["read", "update", "delete", "create"] as const) {
        expect(acl.decide({ operation, path }).allowed).toBe(false);
      }
    }),
  );
});
