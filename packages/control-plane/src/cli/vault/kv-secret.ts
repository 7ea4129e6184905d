import { RksError } from "@rk8s/protocol";
import type { VaultClient } from "../../http/vault-client.js";
import { dataOf, objectAt } from "./reply-rows.js";
import { vaultPath } from "./value-commands.js";
import type { VaultArguments } from "./vault-options.js";

/** Flags and words that name a secret. */
export interface SecretArguments extends VaultArguments {
  readonly path: string;
  readonly mount?: string | undefined;
}

/** A secret and the engine that has it. */
export interface KvSecret {
  /** Whether there are versions. */
  readonly isVersioned: boolean;
  /** As the caller named it, with its mount. */
  readonly subject: string;
  /** Where a part of it is: `data`, `metadata`, `delete` …; the secret itself where there are no versions. */
  pathOf(part: string): string;
}

/**
 * Ask which mount a path belongs to, as every client of a kv engine does.
 * @throws {RksError} INPUT_INVALID when it is no kv engine's, and as the vault answers.
 */
export async function findSecret(client: VaultClient, args: SecretArguments): Promise<KvSecret> {
  const below = vaultPath(args.path).replace(/\/+$/, "");
  const subject = args.mount === undefined ? below : `${args.mount.replace(/^\/+|\/+$/g, "")}/${below}`;
  const reply = await client.ask({ method: "GET", path: `sys/internal/ui/mounts/${subject}` });
  const mount = reply.type === "document" ? dataOf(reply.document) : {};
  const at = mount["path"];
  if (typeof at !== "string" || mount["type"] !== "kv" || !`${subject}/`.startsWith(at)) {
    throw new RksError(
      "INPUT_INVALID",
      `no kv engine is mounted for ${JSON.stringify(subject.slice(0, 200))}`,
      {
        suggestion: "Mount one with `rks secrets enable kv-v2`, or use `rks read`.",
      },
    );
  }
  const own = subject.slice(at.length);
  const isVersioned = objectAt(mount, "options")?.["version"] === "2";
  return {
    isVersioned,
    subject,
    pathOf: (part) => (isVersioned ? `${at}${part}/${own}` : at + own),
  };
}

/** @throws {RksError} INPUT_INVALID when the secret has no versions. */
export function assertVersioned(secret: KvSecret): void {
  if (secret.isVersioned) return;
  throw new RksError(
    "INPUT_INVALID",
    `"${secret.subject.slice(0, 200)}" is in a kv engine without versions`,
    {
      suggestion: "Use `rks kv get`, `put`, `list` and `delete` there.",
    },
  );
}

/** Version numbers with commas. @throws {RksError} USAGE_INVALID */
export function versionNumbers(given: string | undefined): readonly number[] {
  const words = (given ?? "").split(",").map((word) => word.trim());
  if (words.every((word) => /^[1-9]\d{0,8}$/.test(word))) return words.map(Number);
  throw new RksError(
    "USAGE_INVALID",
    `--versions ${JSON.stringify((given ?? "").slice(0, 40))} is no list of versions`,
    {
      suggestion: "Give numbers with commas: --versions 1,2.",
    },
  );
}
