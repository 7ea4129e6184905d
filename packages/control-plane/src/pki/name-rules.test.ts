import { RksError } from "@rk8s/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  assertAlternativeNames,
  assertCommonName,
  matchesGlob,
  refusalOfName,
  toDnsName,
} from "./name-rules.js";
import { parseRole } from "./role.js";

/** Flags: b bare, s subdomains, g glob, l localhost, w wildcards, a any name, h enforce host names; a capital switches off what is on by default. */
function aRole(domains: string, flags: string, validations?: string): ReturnType<typeof parseRole> {
  return parseRole({
    allowed_domains: domains,
    allow_bare_domains: flags.includes("b"),
    allow_subdomains: flags.includes("s"),
    allow_glob_domains: flags.includes("g"),
    allow_localhost: !flags.includes("L"),
    allow_wildcard_certificates: !flags.includes("W"),
    allow_any_name: flags.includes("a"),
    enforce_hostnames: flags.includes("h"),
    ...(validations === undefined ? {} : { cn_validations: validations }),
  });
}

// domains, flags, name, issued — Vault's documented behaviour, one line for each combination that decides differently
test.each<[domains: string, flags: string, name: string, issued: boolean]>([
  ["foo", "", "foo", false],
  ["foo", "b", "foo", true],
  ["foo", "b", "FOO", true],
  ["foo", "b", "bar.foo", false],
  ["foo", "s", "foo", false],
  ["foo", "s", "bar.foo", true],
  ["foo", "s", "baz.fud.bar.foo", true],
  ["foo", "s", "barfoo", false],
  ["foo", "s", "bar.FOO", false],
  ["foo", "s", "*.foo", true],
  ["foo", "s", "*.FOO", true],
  ["foo", "s", "*.bar.foo", true],
  ["foo", "s", "x*x.foo", true],
  ["foo", "s", "*x.foo", true],
  ["foo", "s", "x*.foo", true],
  ["foo", "sW", "*.foo", false],
  ["foo", "sW", "x*x.foo", false],
  ["foo", "sW", "bar.foo", true],
  ["foo", "s", "bar.*.foo", false],
  ["foo", "s", "*.*.foo", false],
  ["foo", "s", "**.foo", false],
  ["foo", "g", "foo", false],
  ["foo", "g", "bar.foo", false],
  ["*.foo", "", "bar.foo", false],
  ["*.foo", "s", "bar.foo", false],
  ["*.foo", "b", "*.foo", true],
  ["*.foo", "bW", "*.foo", false],
  ["*.foo", "g", "foo", false],
  ["*.foo", "g", "bar.foo", true],
  ["*.foo", "g", "baz.fud.bar.foo", true],
  ["*.foo", "g", "*.bar.foo", true],
  ["*.foo", "gW", "*.bar.foo", false],
  ["*.*.foo", "g", "bar.foo", false],
  ["*.*.foo", "g", "fud.bar.foo", true],
  ["*.*.foo", "g", "*.bar.foo", true],
  ["*.*.foo", "b", "*.*.foo", false],
  ["x*x.foo", "g", "xerox.foo", true],
  ["x*x.foo", "g", "xylophone.files.pyrex.foo", true],
  ["x*x.foo", "g", "xercex.bar.foo", false],
  ["x*x.foo", "g", "x*x.foo", true],
  ["x*x.foo", "b", "x*x.foo", true],
  ["x*x.foo", "s", "x*x.foo", false],
  ["x.*.x.foo", "g", "x.ero.x.foo", true],
  ["x.*.x.foo", "g", "xerox.foo", false],
  ["x.*.x.foo", "g", "x.*.x.foo", false],
  ["", "", "localhost", true],
  ["", "", "localdomain", true],
  ["", "", "bar.localhost", false],
  ["", "s", "bar.localhost", true],
  ["", "L", "localhost", false],
  ["localhost", "bL", "localhost", true],
  ["localhost", "L", "localhost", false],
  ["foo", "b", "user@foo", true],
  ["foo", "b", "user@bar", false],
  ["foo", "s", "user@bar.foo", true],
  ["foo", "b", "user@user@foo", false],
  ["foo", "s", "user@*.foo", false],
  ["", "a", "anything at all", true],
  ["", "ah", "anything at all", false],
  ["", "ah", "any.thing", true],
  ["", "aW", "*.any.thing", false],
  ["", "ah", "*.any.thing", true],
  ["", "ah", "*", true],
  ["", "ah", "-x.foo", false],
  ["", "ah", "x_y.foo", false],
  ["", "ah", "x..foo", false],
  ["", "ah", "bücher.example", true],
  ["", "ah", `${"a".repeat(64)}.foo`, false],
  ["", "ah", "", false],
])("allowed_domains %j with flags %j: %j issued %j", (domains, flags, name, issued) => {
  expect(refusalOfName(name, aRole(domains, flags)) === undefined).toBe(issued);
});

test.each<[validations: string, name: string, issued: boolean]>([
  ["disabled", "*.bar.*.bar", true],
  ["disabled", "bar@bar@bar", true],
  ["email", "bar@foo", true],
  ["email", "bar@bar", false],
  ["email", "bar.foo", false],
  ["hostname", "bar.foo", true],
  ["hostname", "bar@foo", false],
  ["hostname", "bar.bar", false],
  ["email,hostname", "bar.foo", true],
  ["email,hostname", "bar@foo", true],
])("cn_validations %j: common name %j issued %j", (validations, name, issued) => {
  expect(codeOf(() => assertCommonName(name, aRole("foo", "bs", validations), "web"))).toBe(
    issued ? "allowed" : "ROLE_REFUSED",
  );
});

test.each<[name: string, flags: string, rule: string, remedy: string]>([
  ["foo", "", "allow_bare_domains is off", "allow_bare_domains=true"],
  ["bar.foo", "", "allow_subdomains is off", "allow_subdomains=true"],
  ["*.foo", "sW", "allow_wildcard_certificates is off", "allow_wildcard_certificates=true"],
  ["localhost", "L", "allow_localhost is off", "allow_localhost=true"],
  ["bar.example", "bs", "allowed_domains (foo) has no domain for it", "allowed_domains"],
  ["node-01", "bs", "allowed_domains (foo) has no domain for it", "allow_short_names=true"],
  ["a b.foo", "sh", "enforce_hostnames", "enforce_hostnames=false"],
])(
  "the refusal of %j with flags %j names the rule %j and what would allow it",
  (name, flags, rule, remedy) => {
    const check = () =>
      assertAlternativeNames([name], aRole("foo", flags), { roleName: "web", allNames: [name] });
    expect(check).toThrow(
      expect.objectContaining({
        code: "ROLE_REFUSED",
        message: expect.stringContaining(`${JSON.stringify(name)} is not allowed by role "web": `) as string,
        suggestion: expect.stringContaining(remedy) as string,
      }) as Error,
    );
    expect(refusalOfName(name, aRole("foo", flags))?.rule).toContain(rule);
  },
);

test.each<[names: string[], allowed: boolean]>([
  [["node-01.svc.rk8s.local", "node-01"], true],
  [["node-01", "node-01.svc.rk8s.local"], true],
  [["node-01"], false],
  [["node-01.elsewhere", "node-01"], false],
  [["node-01.svc.rk8s.local", "node-0"], false],
  [["node-01.svc.rk8s.local", "rks-cluster"], false],
  [["*.svc.rk8s.local", "*"], false],
])("allow_short_names: %j allowed %j", (names, allowed) => {
  const role = parseRole({
    allowed_domains: "svc.rk8s.local",
    allow_subdomains: true,
    allow_short_names: true,
  });
  const check = () => assertAlternativeNames(names, role, { roleName: "nodes", allNames: names });
  expect(codeOf(check)).toBe(allowed ? "allowed" : "ROLE_REFUSED");
});

test.each<[pattern: string, text: string, matches: boolean]>([
  ["*", "", true],
  ["*", "a.b", true],
  ["a*a", "a", false],
  ["a*a", "aa", true],
  ["a*b*c", "aXbYc", true],
  ["a*b*c", "acb", false],
  ["a*bc*c", "abc", false],
  ["spiffe://x/*", "spiffe://x/ns/y", true],
  ["spiffe://x/*", "spiffe://xy/", false],
  ["abc", "abc", true],
  ["abc", "abcd", false],
])("glob %j against %j: %j", (pattern, text, matches) => {
  expect(matchesGlob(pattern, text)).toBe(matches);
});

test("a glob agrees with the regular expression it stands for", () => {
  const texts = fc.stringMatching(/^[ab*]{0,8}$/);
  fc.assert(
    fc.property(texts, fc.stringMatching(/^[ab]{0,10}$/), (pattern, text) => {
      expect(matchesGlob(pattern, text)).toBe(new RegExp(`^${pattern.replaceAll("*", ".*")}$`).test(text));
    }),
    { numRuns: 3000 },
  );
});

test.each<[name: string, ascii: string | undefined]>([
  ["bücher.example", "xn--bcher-kva.example"],
  ["*.example.com", "*.example.com"],
  ["x*.example.com", undefined],
  ["a b", undefined],
  ["", undefined],
  ["*.", undefined],
  [`${"a.".repeat(127)}a`, undefined],
])("%j goes into a certificate as %j", (name, ascii) => {
  expect(toDnsName(name)).toBe(ascii);
});

test("hostile names are judged at once", () => {
  const role = aRole("foo", "bsgh");
  for (const name of [
    "a".repeat(100_000),
    `${"a-".repeat(50_000)}!`,
    `*${"a".repeat(100_000)}!`,
    "*".repeat(100_000),
    "a.".repeat(50_000),
  ]) {
    expect(refusalOfName(name, role)).toBeDefined();
  }
});

function codeOf(check: () => void): string {
  try {
    check();
    return "allowed";
  } catch (error) {
    return error instanceof RksError ? error.code : String(error);
  }
}
