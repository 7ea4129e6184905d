import { resolve } from "node:path";
import { printable, systemClock } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { RksError, Secret } from "@rk8s/protocol";
import type { ControlPlaneConfig } from "../config/config.js";
import { readUnsealMaterial } from "../lifecycle/unseal-material.js";
import { vaultFolderAt } from "../lifecycle/vault-folder.js";
import { restoreControlPlane } from "../restore-control-plane.js";
import { stayControlPlane } from "../stay-control-plane.js";
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
 * @throws {RksError} ALREADY_EXISTS, BUSY, INPUT_INVALID for a file in the vault folder, STORAGE_FULL, STORAGE_UNWRITABLE, UNREACHABLE, VAULT_SEALED.
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

/** What a command needs that works on the store of a config while no rks runs on it. */
export interface OfflineArguments {
  readonly config: string | undefined;
  readonly "key-file": string | undefined;
  readonly "adopt-nodes": boolean;
  readonly json: boolean;
}

export interface RestoreArguments extends OfflineArguments {
  readonly file: string;
}

export interface StayArguments extends OfflineArguments {
  readonly "other-is-lost": boolean;
}

/**
 * `rks storage restore FILE`: into the store that the config names.
 * @throws {RksError} INPUT_INVALID, ALREADY_EXISTS, ALREADY_RUNNING, UNSEAL_KEY_INVALID, STORAGE_CORRUPT, CONFIG_INVALID.
 */
export async function storageRestore(args: RestoreArguments, io: CliIo): Promise<void> {
  const { config, file: configFile } = await readConfigArgument(args.config, io);
  const shares = await sharesFor(config, args, io);
  const request = { file: resolve(io.cwd, args.file), shares, adoptNodes: args["adopt-nodes"] };
  const restored = await restoreControlPlane(config, request, { clock: systemClock });
  if (args.json) printJson(io, restored);
  else
    io.stdout(`restored ${restored.entries} entries as of ${restored.createdAt}, epoch ${restored.epoch}\n`);
  printHint(io, `next: rks start --config ${configFile}; open join tokens are void, make new ones`);
  printHint(io, "bans, evictions and revocations that were made after the backup are not in it: repeat them");
}

/**
 * `rks storage stay`: keep the vault where the config says after a switch was cut off, when the other store is lost.
 * @throws {RksError} ALREADY_RUNNING, CONFLICT, STORAGE_MOVED, UNAVAILABLE, UNSEAL_KEY_INVALID, STORAGE_CORRUPT, CONFIG_INVALID.
 */
export async function storageStay(args: StayArguments, io: CliIo): Promise<void> {
  const { config, file: configFile } = await readConfigArgument(args.config, io);
  const shares = await sharesFor(config, args, io);
  const request = { shares, isOtherLost: args["other-is-lost"], adoptNodes: args["adopt-nodes"] };
  const stayed = await stayControlPlane(config, request, { clock: systemClock });
  if (args.json) printJson(io, stayed);
  else io.stdout(printable(`the vault stays in ${stayed.store}\n`));
  if (stayed.gaveUp === null) {
    printHint(io, "nothing had to be given up: a start finds the vault by itself");
  } else {
    const { store, since } = stayed.gaveUp;
    const warnings = [
      `WARNING: ${store} was given up. If it was the vault after ${since}, what was done there is lost: joins,`,
      "WARNING: bans, evictions and revocations; repeat them. Open join tokens are void.",
      "WARNING: never let an rks of another host serve it; destroy it when it comes back.",
    ];
    io.stderr(printable(`${warnings.join("\n")}\n`));
  }
  printHint(io, `next: rks start --config ${configFile}`);
}

async function sharesFor(
  config: ControlPlaneConfig,
  args: Pick<OfflineArguments, "key-file">,
  io: CliIo,
): Promise<readonly Secret<string>[]> {
  const given = await givenShares({ "key-file": args["key-file"] }, io);
  const kept = await readUnsealMaterial(config.seal, vaultFolderAt(config.vaultFolder));
  const shares = given?.map((share) => new Secret(share)) ?? kept?.shares;
  if (shares !== undefined) return shares;
  throw new RksError("USAGE_INVALID", `no unseal key is given, and none is in "${config.vaultFolder}"`, {
    suggestion: "Give those of the vault with --key-file FILE.",
  });
}
