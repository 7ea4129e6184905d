import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { anUnsealedVault } from "./testing/unsealed-vault.js";

const OPEN = [
  "read sys/health",
  "read sys/init",
  "read sys/internal/specs/openapi",
  "read sys/internal/ui/mounts",
  "read sys/internal/ui/mounts/*path",
  "read sys/leader",
  "read sys/replication/dr/status",
  "read sys/replication/performance/status",
  "read sys/replication/status",
  "read sys/seal-status",
  "update sys/decode-token",
  "update sys/init",
  "update sys/unseal",
  "read sys/wrapping/lookup",
  "update sys/wrapping/lookup",
];
/** Who holds a wrapping token is judged by it, not by policies: what is no such token is refused in other words. */
const UNWRAPPING = ["update sys/wrapping/unwrap", "update sys/wrapping/rewrap"];
const SELF = [
  "read auth/token/lookup-self",
  "update auth/token/lookup-self",
  "update auth/token/renew-self",
  "update auth/token/revoke-self",
  "read cubbyhole/*path",
  "update cubbyhole/*path",
  "delete cubbyhole/*path",
  "list cubbyhole/",
  "list cubbyhole/*path",
  "read sys/internal/ui/resultant-acl",
  "update sys/capabilities-self",
  "update sys/leases/lookup",
  "update sys/leases/renew",
  "update sys/wrapping/wrap",
];

test.each([
  { name: "nobody", policy: undefined, allowed: [...OPEN, ...UNWRAPPING] },
  { name: "a token with default alone", policy: "# nothing", allowed: [...OPEN, ...UNWRAPPING, ...SELF] },
  {
    name: "a token that may do everything but sudo",
    policy: `path "*" { capabilities = ["create", "read", "update", "delete", "list"] }`,
    allowed: "everything that does not take sudo",
  },
])("$name is let through to exactly its lines of the table", async ({ policy, allowed }) => {
  await using subject = await anUnsealedVault();
  const { vault, root, tokenWith } = subject;
  if (policy !== undefined) await vault.write(root, "sys/policies/acl/p", { policy });
  const letThrough: string[] = [];
  for (const { verb, path } of vault.paths) {
    const clientToken = policy === undefined ? "" : await tokenWith({ policies: ["p"] });
    const request = { operation: verb, path: path.replaceAll(/[:*]\w+/g, "x"), data: {}, clientToken };
    const error = await vault.handle(request).catch((reason: unknown) => reason);
    const isDenied = error instanceof RksError && error.message.startsWith("permission denied");
    if (!isDenied) letThrough.push(`${verb} ${path}`);
  }
  const withoutSudo = vault.paths.filter(({ access }) => access !== "sudo");
  const expected =
    typeof allowed === "string" ? withoutSudo.map(({ verb, path }) => `${verb} ${path}`) : allowed;
  expect(letThrough.toSorted()).toEqual([...expected].toSorted());
  expect(vault.status().sealed).toBe(false);
});

test("no line of the table is hidden by one before it", async () => {
  await using subject = await anUnsealedVault();
  const lines = subject.vault.paths.map(({ verb, path }) => `${verb} ${path}`);
  expect(new Set(lines).size).toBe(lines.length);
});
