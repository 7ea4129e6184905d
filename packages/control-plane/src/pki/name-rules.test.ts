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
import { parseRole } from "./role/role.js";

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

/** Every name that one role is asked for, with what becomes of it. */
interface Asked {
  readonly domains: string;
  readonly flags: string;
  readonly issued: readonly string[];
  readonly refused: readonly string[];
}

// The names of a shop: one line for each set of flags that decides differently (Vault's documented behaviour).
test.each<Asked>([
  {
    domains: "shop.test",
    flags: "",
    issued: ["localhost", "localdomain"],
    refused: ["shop.test", "eu.shop.test", "*.shop.test", "a.localhost", ""],
  },
  {
    domains: "shop.test",
    flags: "b",
    issued: ["shop.test", "Shop.TEST", "orders@shop.test"],
    refused: ["eu.shop.test", "myshop.test", "orders@eu.shop.test", "a@b@shop.test", "orders@other.test"],
  },
  {
    domains: "shop.test",
    flags: "s",
    issued: [
      "eu.shop.test",
      "1.cart.eu.shop.test",
      "*.shop.test",
      "*.Shop.Test",
      "*.eu.shop.test",
      "a.localhost",
    ],
    refused: ["shop.test", "myshop.test", "eu.Shop.Test", "eu.shop.test.evil", "orders@*.shop.test"],
  },
  {
    domains: "shop.test",
    flags: "s",
    issued: ["web*.shop.test", "*web.shop.test", "w*b.shop.test", "orders@eu.shop.test"],
    refused: ["eu.*.shop.test", "*.*.shop.test", "**.shop.test", "w**b.shop.test", "*"],
  },
  {
    domains: "shop.test",
    flags: "sW",
    issued: ["eu.shop.test"],
    refused: ["*.shop.test", "*.eu.shop.test", "w*b.shop.test"],
  },
  { domains: "shop.test", flags: "g", issued: [], refused: ["shop.test", "eu.shop.test"] },
  {
    domains: "*.shop.test",
    flags: "",
    issued: [],
    refused: ["eu.shop.test", "*.shop.test", "*.eu.shop.test"],
  },
  { domains: "*.shop.test", flags: "b", issued: ["*.shop.test"], refused: ["eu.shop.test"] },
  { domains: "*.shop.test", flags: "bW", issued: [], refused: ["*.shop.test"] },
  {
    domains: "*.shop.test",
    flags: "g",
    issued: ["eu.shop.test", "1.cart.eu.shop.test", "*.eu.shop.test"],
    refused: ["shop.test", "eu.shop.test.evil", "myshop.test"],
  },
  { domains: "*.shop.test", flags: "gW", issued: ["eu.shop.test"], refused: ["*.eu.shop.test"] },
  {
    domains: "till-*.*.shop.test",
    flags: "g",
    issued: ["till-1.eu.shop.test", "till-.x.y.shop.test"],
    refused: ["till-1.shop.test", "stall-1.eu.shop.test", "till-*.*.shop.test"],
  },
  { domains: "till-*.shop.test", flags: "b", issued: ["till-*.shop.test"], refused: ["till-1.shop.test"] },
  { domains: "till-*.shop.test", flags: "s", issued: [], refused: ["till-1.shop.test", "till-*.shop.test"] },
  { domains: "eu.shop.test,localhost", flags: "bL", issued: ["localhost"], refused: ["localdomain"] },
  { domains: "localhost", flags: "L", issued: [], refused: ["localhost"] },
  {
    domains: "",
    flags: "a",
    issued: ["whatever you like", "*.till.test", "x_y"],
    refused: ["*.*.till.test", "a@b@c"],
  },
  {
    domains: "",
    flags: "ah",
    issued: ["till.test", "*.till.test", "*", "kasse.münchen.test", "till.test."],
    refused: ["whatever you like", "-till.test", "till-.test", "x_y.test", "till..test", ".test", ""],
  },
  {
    domains: "",
    flags: "ah",
    issued: [`${"t".repeat(63)}.test`],
    refused: [`${"t".repeat(64)}.test`, "till.test\u0000", "till.test\n", `${"t.".repeat(130)}test`],
  },
  { domains: "", flags: "aW", issued: ["till.test"], refused: ["*.till.test"] },
])("allowed_domains $domains with flags $flags: $issued are issued, $refused are not", (asked) => {
  const role = aRole(asked.domains, asked.flags);
  const isIssued = (name: string): boolean => refusalOfName(name, role) === undefined;
  expect(asked.issued.filter((name) => !isIssued(name))).toEqual([]);
  expect(asked.refused.filter(isIssued)).toEqual([]);
});

test.each<{ validations: string; issued: readonly string[]; refused: readonly string[] }>([
  { validations: "disabled", issued: ["*.a.*.b", "till 4 @ counter @ hall", "elsewhere.test"], refused: [] },
  { validations: "email", issued: ["till@shop.test"], refused: ["till@elsewhere.test", "eu.shop.test"] },
  { validations: "hostname", issued: ["eu.shop.test"], refused: ["till@shop.test", "elsewhere.test"] },
  { validations: "email,hostname", issued: ["eu.shop.test", "till@shop.test"], refused: ["a@b@shop.test"] },
])("cn_validations $validations: common names $issued are issued, $refused are not", (asked) => {
  const role = aRole("shop.test", "bs", asked.validations);
  const check = (name: string): string => codeOf(() => assertCommonName(name, role, "web"));
  expect(asked.issued.filter((name) => check(name) !== "allowed")).toEqual([]);
  expect(asked.refused.filter((name) => check(name) !== "ROLE_REFUSED")).toEqual([]);
});

test.each<[name: string, flags: string, rule: string, remedy: string]>([
  ["shop.test", "", "allow_bare_domains is off", "allow_bare_domains=true"],
  ["eu.shop.test", "", "allow_subdomains is off", "allow_subdomains=true"],
  ["*.shop.test", "sW", "allow_wildcard_certificates is off", "allow_wildcard_certificates=true"],
  ["localhost", "L", "allow_localhost is off", "allow_localhost=true"],
  ["eu.example", "bs", "allowed_domains (shop.test) has no domain for it", "allowed_domains"],
  ["node-01", "bs", "allowed_domains (shop.test) has no domain for it", "allow_short_names=true"],
  ["a b.shop.test", "sh", "enforce_hostnames", "enforce_hostnames=false"],
])(
  "the refusal of %j with flags %j names the rule %j and what would allow it",
  (name, flags, rule, remedy) => {
    const check = () =>
      assertAlternativeNames([name], aRole("shop.test", flags), { roleName: "web", allNames: [name] });
    expect(check).toThrow(
      expect.objectContaining({
        code: "ROLE_REFUSED",
        message: expect.stringContaining(`${JSON.stringify(name)} is not allowed by role "web": `) as string,
        suggestion: expect.stringContaining(remedy) as string,
      }) as Error,
    );
    expect(refusalOfName(name, aRole("shop.test", flags))?.rule).toContain(rule);
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
  const role = aRole("shop.test", "bsgh");
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
