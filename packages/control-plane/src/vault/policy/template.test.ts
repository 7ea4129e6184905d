import fc from "fast-check";
import { expect, test } from "vitest";

import { Acl } from "./acl.js";
import { parsePolicy } from "./policy-parser.js";
import type { PolicyIdentity } from "./policy.js";
import { renderPolicyTemplate } from "./template.js";

const ANNA: PolicyIdentity = {
  id: "e-1",
  name: "anna",
  metadata: {
    team: "red",
    "cost.centre": "77",
    empty: "",
    slash: "red/blue",
    star: "r*",
    plus: "+",
    dots: "..",
  },
  aliases: [
    { mountAccessor: "acc-1", id: "al-1", name: "Anna.K", metadata: { ns: "prod" } },
    { mountAccessor: "acc-2", id: "al-2", name: "sys/anna", metadata: {} },
  ],
};

function rendered(
  path: string,
  identity: PolicyIdentity | undefined = ANNA,
  capability = "read",
): string | undefined {
  const policy = parsePolicy(`path ${JSON.stringify(path)} { capabilities = ["${capability}"] }`);
  return renderPolicyTemplate(policy, identity).rules[0]?.path;
}

test.each([
  ["no/template", "no/template"],
  ["home/{{identity.entity.id}}", "home/e-1"],
  ["home/{{ identity.entity.name }}/*", "home/anna/*"],
  ["/home/{{identity.entity.name}}", "home/anna"],
  ["t/{{identity.entity.metadata.team}}/{{identity.entity.name}}-x", "t/red/anna-x"],
  ["t/{{identity.entity.metadata.cost.centre}}", "t/77"],
  ["a/{{identity.entity.aliases.acc-1.id}}/{{identity.entity.aliases.acc-1.name}}", "a/al-1/Anna.K"],
  ["a/{{identity.entity.aliases.acc-1.metadata.ns}}/+/*", "a/prod/+/*"],
])("%s of anna is %s", (path, expected) => {
  expect(rendered(path)).toBe(expected);
});

test.each([
  ["metadata that is not there", "t/{{identity.entity.metadata.colour}}"],
  ["empty metadata", "t/{{identity.entity.metadata.empty}}"],
  ["metadata that every object has", "t/{{identity.entity.metadata.constructor}}"],
  ["an alias elsewhere", "a/{{identity.entity.aliases.acc-9.id}}"],
  ["metadata of an alias elsewhere", "a/{{identity.entity.aliases.acc-9.metadata.ns}}"],
  ["metadata that the alias has not", "a/{{identity.entity.aliases.acc-2.metadata.ns}}"],
  ["one of two places", "t/{{identity.entity.metadata.team}}/{{identity.entity.metadata.colour}}"],
  ["a slash", "t/{{identity.entity.metadata.slash}}"],
  ["a slash in an alias", "a/{{identity.entity.aliases.acc-2.name}}/*"],
  ["a star", "t/{{identity.entity.metadata.star}}"],
  ["a plus", "t/{{identity.entity.metadata.plus}}/x"],
])("a rule that meets %s is left out", (_name, path) => {
  expect(rendered(path)).toBeUndefined();
});

test("without an identity all templated rules that grant are left out and nothing else", () => {
  const policy = parsePolicy(`
    path "home/{{identity.entity.id}}" { capabilities = ["read"] }
    path "home/shared" { capabilities = ["read"] }
  `);
  expect(renderPolicyTemplate(policy, undefined).rules.map(({ path }) => path)).toEqual(["home/shared"]);
});

test.each([
  ["home/{{identity.entity.name}}/key", "home/+/key"],
  ["home/u-{{identity.entity.name}}/key", "home/+/key"],
  ["home/{{identity.entity.name}}*", "home/*"],
  ["home/{{identity.entity.name}}/*", "home/+/*"],
  ["home/{{identity.entity.name}}", "home/+"],
  ["home/{{identity.entity.id}}-{{identity.entity.name}}/key", "home/+/key"],
])("without an identity a deny of %s is one of %s", (path, expected) => {
  const nobody = renderPolicyTemplate(parsePolicy(`path "${path}" { policy = "deny" }`), undefined);
  expect(nobody.rules.map((rule) => rule.path)).toEqual([expected]);
});

test("a deny is filled in with whatever the value is", () => {
  expect(rendered("t/{{identity.entity.metadata.slash}}/key", ANNA, "deny")).toBe("t/red/blue/key");
  expect(rendered("t/{{identity.entity.metadata.plus}}/key", ANNA, "deny")).toBe("t/+/key");
});

test("a rule that was not filled in counts for nothing", () => {
  const policy = parsePolicy(`path "home/{{identity.entity.name}}*" { capabilities = ["read"] }`);
  const acl = new Acl([policy]);
  for (const path of ["home/{{identity.entity.name}}*", "home/{{identity.entity.name}}", "home/anna"]) {
    expect(acl.decide({ operation: "read", path }).allowed).toBe(false);
  }
});

// GHSA-59w7-v8rr-pr4p: whoever could choose their own name chose a wildcard.
test("no name opens more than the one path that it spells", () => {
  const policy = parsePolicy(`
    path "home/{{identity.entity.name}}/key" { capabilities = ["read"] }
    path "desk/{{identity.entity.metadata.team}}" { capabilities = ["read"] }
    path "desk/{{identity.entity.metadata.team}}/*" { capabilities = ["read"] }
  `);
  const text = fc.oneof(
    fc.constantFrom(
      "*",
      "+",
      "a*",
      "+/+",
      "../root",
      "a/b",
      "",
      "/",
      "*/",
      "{{identity.entity.id}}",
      "__proto__",
    ),
    fc.string({ maxLength: 6 }),
  );
  fc.assert(
    fc.property(text, text, (name, team) => {
      const identity = { ...ANNA, name, metadata: { team } };
      const acl = new Acl([renderPolicyTemplate(policy, identity)]);
      const may = (path: string): boolean => acl.decide({ operation: "read", path }).allowed;
      expect(may("home/someone-else/key")).toBe(false);
      expect(may("home/root/key")).toBe(name === "root");
      expect(may("desk/other-team")).toBe(team === "other-team");
      expect(may("desk/other-team/x/y")).toBe(team === "other-team");
      expect(may("desk")).toBe(false);
      expect(may("root/key")).toBe(false);
    }),
  );
});
