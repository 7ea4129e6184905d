import type { CliIo } from "@rk8s/host/cli-io";
import { assertVersioned, findSecret, type SecretArguments } from "./kv-secret.js";
import { printReply } from "./reply-output.js";
import { readPairs } from "./request-data.js";
import { findVault } from "./vault-target.js";

interface MetadataArguments extends SecretArguments {
  readonly "max-versions"?: string | undefined;
  readonly "delete-version-after"?: string | undefined;
  readonly "cas-required"?: string | undefined;
  readonly "custom-metadata"?: readonly string[] | undefined;
}

/** `rks kv metadata get PATH`. @throws {RksError} NOT_FOUND, and as the vault answers. */
export async function getMetadata(args: SecretArguments, io: CliIo): Promise<void> {
  await ask("GET", undefined, "there is none", args, io);
}

/** `rks kv metadata put PATH`. @throws {RksError} INPUT_INVALID, and as the vault answers. */
export async function putMetadata(args: MetadataArguments, io: CliIo): Promise<void> {
  const custom = args["custom-metadata"];
  const given = {
    max_versions: args["max-versions"],
    delete_version_after: args["delete-version-after"],
    cas_required: args["cas-required"],
    custom_metadata: custom === undefined ? undefined : readPairs("--custom-metadata", custom),
  };
  const body = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  await ask("POST", body, "changed", args, io);
}

/** `rks kv metadata delete PATH`: the secret and all its versions. @throws {RksError} as the vault answers. */
export async function deleteMetadata(args: SecretArguments, io: CliIo): Promise<void> {
  await ask("DELETE", undefined, "deleted with all its versions", args, io);
}

async function ask(
  method: "GET" | "POST" | "DELETE",
  body: object | undefined,
  done: string,
  args: SecretArguments,
  io: CliIo,
): Promise<void> {
  const { client, wrapTtl } = await findVault(args, io);
  const secret = await findSecret(client, args);
  assertVersioned(secret);
  const reply = await client.ask({ method, path: secret.pathOf("metadata"), body, wrapTtl });
  await printReply(reply, args, io, { subject: secret.subject, done: `${secret.subject}: ${done}` });
}
