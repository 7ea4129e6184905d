import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import { printReply } from "./reply-output.js";
import { readPairs } from "./request-data.js";
import type { VaultArguments } from "./vault-options.js";
import { findVault } from "./vault-target.js";

export interface TokenCreateArguments extends VaultArguments {
  readonly policy?: readonly string[] | undefined;
  readonly ttl?: string | undefined;
  readonly period?: string | undefined;
  readonly "explicit-max-ttl"?: string | undefined;
  readonly "num-uses"?: string | undefined;
  readonly renewable?: string | undefined;
  readonly orphan: boolean;
  readonly "no-default-policy": boolean;
  readonly type?: string | undefined;
  readonly role?: string | undefined;
  readonly "display-name"?: string | undefined;
  readonly "entity-alias"?: string | undefined;
  readonly metadata?: readonly string[] | undefined;
  readonly id?: string | undefined;
}

/**
 * `rks token create`. With the socket's root authority a policy or a role must be named: nobody makes a root token by
 * leaving something out.
 * @throws {RksError} USAGE_INVALID, and as the vault answers.
 */
export async function createToken(args: TokenCreateArguments, io: CliIo): Promise<void> {
  const policies = (args.policy ?? []).flatMap((names) => names.split(",")).filter((name) => name !== "");
  const body = bodyOf(args, policies);
  const { client, wrapTtl, isRoot } = await findVault(args, io);
  if (isRoot && policies.length === 0 && args.role === undefined) {
    throw new RksError("USAGE_INVALID", "no policy is named for the token", {
      suggestion: "Give --policy NAME; --policy root gives it every right.",
    });
  }
  const path = pathOf(args);
  const reply = await client.ask({ method: "POST", path, body, wrapTtl });
  await printReply(reply, args, io, { subject: path, done: "no token was made" });
}

function pathOf({ role, orphan }: TokenCreateArguments): string {
  if (role !== undefined) return `auth/token/create/${role}`;
  return orphan ? "auth/token/create-orphan" : "auth/token/create";
}

function bodyOf(args: TokenCreateArguments, policies: readonly string[]): object {
  const given = {
    id: args.id,
    ttl: args.ttl,
    period: args.period,
    explicit_max_ttl: args["explicit-max-ttl"],
    num_uses: args["num-uses"],
    renewable: args.renewable,
    type: args.type,
    display_name: args["display-name"],
    entity_alias: args["entity-alias"],
  };
  return {
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    ...(policies.length === 0 ? {} : { policies }),
    ...(args.metadata === undefined ? {} : { meta: readPairs("--metadata", args.metadata) }),
    ...(args.orphan ? { no_parent: true } : {}),
    ...(args["no-default-policy"] ? { no_default_policy: true } : {}),
  };
}
