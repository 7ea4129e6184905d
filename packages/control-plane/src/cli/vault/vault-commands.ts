import type { Argv } from "yargs";
import type { Choose } from "../choose.js";
import { loginOptions } from "./login-arguments.js";
import { valueCommands } from "./value-arguments.js";

/** The verbs that ask a vault, as the `vault` command has them. */
const VERBS = new Set([
  ...["read", "write", "list", "delete", "unwrap", "kv", "policy", "token", "lease"],
  ...["secrets", "auth", "login", "audit", "operator"],
]);

/** Whether a word is one of the verbs that ask a vault. */
export function isVaultVerb(word: string | undefined): boolean {
  return word !== undefined && VERBS.has(word);
}

/** Add the verbs of the vault. What is below a group is loaded when the group is named. */
export function vaultCommands(parser: Argv, choose: Choose): Argv {
  return valueCommands(parser, choose)
    .command("kv", "Read and write secrets of a kv engine", async (group) =>
      (await import("./kv-arguments.js")).kvCommands(group, choose),
    )
    .command("login [data..]", "Log in, and print the token", loginOptions, (args) =>
      choose(async (io) => (await import("./login-command.js")).login(args, io)),
    )
    .command("token", "Make, look up, renew and revoke tokens", async (group) =>
      (await import("./token-arguments.js")).tokenCommands(group, choose),
    )
    .command("policy", "List, read, write and delete policies", async (group) =>
      (await import("./policy-arguments.js")).policyCommands(group, choose),
    )
    .command("secrets", "Mount, tune, move and unmount secrets engines", async (group) =>
      (await import("./mount-arguments.js")).secretsCommands(group, choose),
    )
    .command("auth", "Mount, tune, move and unmount login methods", async (group) =>
      (await import("./mount-arguments.js")).authCommands(group, choose),
    )
    .command(
      "audit",
      "Verify and show the audit log; list, enable and disable audit devices",
      async (group) => (await import("./audit-arguments.js")).auditCommands(group, choose),
    )
    .command("lease", "Look up, renew and revoke leases", async (group) =>
      (await import("./lease-arguments.js")).leaseCommands(group, choose),
    )
    .command("operator", "Seal and unseal, rotate and replace the vault's keys", async (group) =>
      (await import("./operator-arguments.js")).operatorCommands(group, choose),
    );
}
