import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import { readUnsealMaterial } from "../lifecycle/unseal-material.js";
import { vaultFolderAt } from "../lifecycle/vault-folder.js";
import { sealStatusAnswer, statusAnswer } from "./answers.js";
import type { TargetArguments } from "./flags.js";
import { ask } from "./ask.js";
import { formatFields, printHint, printJson } from "./output.js";
import { storeFields } from "./storage-commands.js";
import { findTarget, type Target } from "./target.js";
import { givenShares, type ShareArguments } from "./unseal-shares.js";

/** `rks status`. @throws {RksError} UNREACHABLE. */
export async function status(args: TargetArguments, io: CliIo): Promise<void> {
  const { data } = await ask(await findTarget(args, io), statusAnswer, "GET", "/v1/rk8s/status");
  if (args.json) {
    printJson(io, data);
    return;
  }
  const fields: [string, string][] = [
    ["initialized", String(data.initialized)],
    ["sealed", String(data.sealed)],
    [
      "seal",
      data.sealType === "shamir" ? `shamir, ${data.threshold} of ${data.shares} shares` : data.sealType,
    ],
    ...(data.storage === undefined ? [] : storeFields(data.storage)),
    ["quic", data.quic ?? "closed"],
    ["http", data.http ?? "closed"],
    ["socket", data.socket],
    ["version", data.version],
    ["pid", String(data.pid)],
    ["started", data.startedAt],
  ];
  if (data.sealed && data.progress > 0)
    fields.splice(3, 0, ["progress", `${data.progress} of ${data.threshold}`]);
  io.stdout(formatFields(fields));
  if (data.sealed) printHint(io, "open the vault with `rks unseal`");
  if (data.unattendedStart === "unusable") {
    printHint(
      io,
      "the unseal keys kept for an unattended start do not open this vault: put the new ones there",
    );
  }
}

export interface UnsealArguments extends TargetArguments, ShareArguments {}

/**
 * `rks unseal [KEY]`. Gives every share it finds until the vault opens; fewer than needed is no error.
 * @throws {RksError} UNSEAL_KEY_INVALID, USAGE_INVALID when there is no share anywhere, UNREACHABLE.
 */
export async function unseal(args: UnsealArguments, io: CliIo): Promise<void> {
  const target = await findTarget(args, io);
  const shares = await findShares(args, target, io);
  let state = await ask(target, sealStatusAnswer, "GET", "/v1/sys/seal-status");
  for (const key of shares) {
    if (!state.sealed) break;
    state = await ask(target, sealStatusAnswer, "POST", "/v1/sys/unseal", { key });
  }
  if (args.json)
    printJson(io, { sealed: state.sealed, progress: state.progress, threshold: state.t, shares: state.n });
  else io.stdout(state.sealed ? `sealed: ${state.progress} of ${state.t} shares given\n` : "unsealed\n");
  if (state.sealed) printHint(io, "give the next share with `rks unseal`");
}

/** `rks seal`. @throws {RksError} UNREACHABLE. */
export async function seal(args: TargetArguments, io: CliIo): Promise<void> {
  const target = await findTarget(args, io);
  await target.client.request("POST", "/v1/sys/seal");
  if (args.json) printJson(io, { sealed: true });
  else io.stdout("sealed\n");
  printHint(io, "agents are disconnected until `rks unseal`");
}

async function findShares(args: UnsealArguments, target: Target, io: CliIo): Promise<readonly string[]> {
  const given = await givenShares(args, io);
  if (given !== undefined) return given;
  const { config } = target;
  const left =
    config === undefined
      ? undefined
      : await readUnsealMaterial(config.seal, vaultFolderAt(config.vaultFolder));
  if (left !== undefined) {
    io.stderr(`using ${left.file}\n`);
    return left.shares.map((share) => share.reveal());
  }
  const where = config === undefined ? "" : `, and none is left in "${config.vaultFolder}"`;
  throw new RksError("USAGE_INVALID", `no unseal key is given${where}`, {
    suggestion: "Give one with `rks unseal --key-file FILE` or on stdin with `rks unseal -`.",
  });
}
