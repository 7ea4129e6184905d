import { resolve } from "node:path";
import { systemClock } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { RksError, Secret } from "@rk8s/protocol";
import { readUnsealMaterial } from "../lifecycle/unseal-material.js";
import { vaultFolderAt } from "../lifecycle/vault-folder.js";
import { restoreControlPlane } from "../restore-control-plane.js";
import { backupAnswer } from "./answers.js";
import { ask } from "./ask.js";
import type { TargetArguments } from "./flags.js";
import { printHint, printJson } from "./output.js";
import { findTarget, readConfigArgument } from "./target.js";
import { givenShares } from "./unseal-shares.js";

/** A million entries take a minute. */
const BACKUP_TIMEOUT_MS = 3_600_000;

export interface BackupArguments extends TargetArguments {
  readonly file: string;
}

/**
 * `rks storage backup FILE`: the running rks writes it.
 * @throws {RksError} ALREADY_EXISTS, BUSY, STORAGE_FULL, STORAGE_UNWRITABLE, UNREACHABLE, VAULT_SEALED.
 */
export async function storageBackup(args: BackupArguments, io: CliIo): Promise<void> {
  const target = await findTarget(args, io, { timeoutMs: BACKUP_TIMEOUT_MS });
  const file = resolve(io.cwd, args.file);
  const { data } = await ask(target, backupAnswer, "POST", "/v1/rk8s/storage/backup", { file });
  if (args.json) printJson(io, { file, ...data });
  else io.stdout(`${file}\n`);
  io.stderr(`${data.entries} entries as of ${data.createdAt}\n`);
  printHint(io, "the unseal keys are not in it: without them nobody can restore it; keep them elsewhere");
}

export interface RestoreArguments {
  readonly file: string;
  readonly config?: string | undefined;
  readonly "key-file"?: string | undefined;
  readonly "adopt-nodes": boolean;
  readonly json: boolean;
}

/**
 * `rks storage restore FILE`: into the store that the config names.
 * @throws {RksError} INPUT_INVALID, ALREADY_EXISTS, ALREADY_RUNNING, UNSEAL_KEY_INVALID, STORAGE_CORRUPT, CONFIG_INVALID.
 */
export async function storageRestore(args: RestoreArguments, io: CliIo): Promise<void> {
  const { config, file: configFile } = await readConfigArgument(args.config, io);
  const given = await givenShares({ "key-file": args["key-file"] }, io);
  const kept = await readUnsealMaterial(config.seal, vaultFolderAt(config.vaultFolder));
  const shares = given?.map((share) => new Secret(share)) ?? kept?.shares;
  if (shares === undefined) {
    throw new RksError("USAGE_INVALID", `no unseal key is given, and none is in "${config.vaultFolder}"`, {
      suggestion: "Give those of the vault with --key-file FILE.",
    });
  }
  const request = { file: resolve(io.cwd, args.file), shares, adoptNodes: args["adopt-nodes"] };
  const restored = await restoreControlPlane(config, request, { clock: systemClock });
  if (args.json) printJson(io, restored);
  else
    io.stdout(`restored ${restored.entries} entries as of ${restored.createdAt}, epoch ${restored.epoch}\n`);
  printHint(io, `next: rks start --config ${configFile}; open join tokens are void, make new ones`);
  printHint(io, "bans, evictions and revocations that were made after the backup are not in it: repeat them");
}
