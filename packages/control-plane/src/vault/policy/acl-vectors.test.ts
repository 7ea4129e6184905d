import { readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "vitest";
import { z } from "zod";

import { Acl } from "./acl.js";
import { parsePolicy } from "./policy-parser.js";

/** Folder of tables measured on OpenBao, which are not part of the repository. */
const FOLDER = process.env["RK8S_VECTORS"] ?? "";
const REASON = FOLDER === "" ? " (skipped: RK8S_VECTORS does not name the folder of the test vectors)" : "";

const operation = z.enum(["read", "create", "update", "patch", "delete", "list", "scan", "help"]);
const decisions = z.object({
  policies: z.array(z.string()),
  cases: z.array(z.object({ op: operation, path: z.string(), allowed: z.boolean(), sudo: z.boolean() })),
});
const schema = z.object({
  single: decisions,
  layered: decisions,
  params: z.object({
    policies: z.array(z.string()),
    cases: z.array(
      z.object({
        path: z.string(),
        wrap_ttl: z.number().nullable(),
        parameters: z.array(z.string()),
        allowed: z.boolean(),
      }),
    ),
  }),
  priority: z.array(z.object({ policy: z.string(), path: z.string(), expect: z.string() })),
  list_deny: z.object({
    policy: z.string(),
    cases: z.array(z.object({ path: z.string(), allowed: z.boolean() })),
  }),
});

const readTables = (): z.infer<typeof schema> =>
  schema.parse(JSON.parse(readFileSync(join(FOLDER, "acl_tables.json"), "utf8")));

describe.skipIf(FOLDER === "")(`the ACL tables${REASON}`, () => {
  test.each([
    { name: "single", count: 41 },
    { name: "layered", count: 26 },
  ] as const)("the table of $name decisions holds in full", ({ name, count }) => {
    const { policies, cases } = readTables()[name];
    expect(cases).toHaveLength(count);
    const acl = new Acl(policies.map(parsePolicy));
    const decided = cases.map(({ op, path }) => {
      const { allowed, sudo } = acl.decide({ operation: op, path });
      return { op, path, allowed, sudo };
    });
    expect(decided).toEqual(cases);
  });

  test.each(["update", "create", "read"] as const)(
    "the table of parameters holds in full for %s",
    (asked) => {
      const { policies, cases } = readTables().params;
      expect(cases).toHaveLength(23);
      const acl = new Acl(policies.map(parsePolicy));
      const decided = cases.map((one) => ({
        ...one,
        allowed: acl.decide({
          operation: asked,
          path: one.path,
          data: Object.fromEntries(one.parameters.map((name) => [name, ""])),
          wrapTtlSeconds: one.wrap_ttl ?? undefined,
        }).allowed,
      }));
      expect(decided).toEqual(cases);
    },
  );

  test("the table of priorities holds in full", () => {
    const { priority } = readTables();
    expect(priority).toHaveLength(7);
    for (const { policy, path } of priority) {
      const acl = new Acl([parsePolicy(policy)]);
      const decided = (["update", "read"] as const).map(
        (asked) => acl.decide({ operation: asked, path }).allowed,
      );
      expect([policy, ...decided]).toEqual([policy, true, false]);
    }
  });

  test.each(["list", "scan"] as const)("the table of denied lists holds in full for %s", (asked) => {
    const { policy, cases } = readTables().list_deny;
    expect(cases).toHaveLength(7);
    const acl = new Acl([parsePolicy(policy)]);
    for (const { path, allowed } of cases) {
      for (const spelled of [path, path.slice(0, -1)]) {
        const decision = acl.decide({ operation: asked, path: spelled });
        expect([spelled, decision.allowed]).toEqual([spelled, allowed]);
      }
    }
  });
});
