import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import type { z } from "zod";
import { readUnsealMaterial } from "../lifecycle/unseal-material.js";
import { vaultFolderAt } from "../lifecycle/vault-folder.js";
import { sealStatusAnswer, statusAnswer } from "./answers.js";
import { STDIN_WORD, type ClusterArguments, type TargetArguments } from "./flags.js";
import { ask } from "./ask.js";
import { formatFields, printHint, printJson } from "./output.js";
import { storeFields } from "./storage-commands.js";
import { findCluster, type ClusterTarget } from "./cluster-target.js";
import type { Asked } from "./target.js";
import { givenShares, type ShareArguments } from "./unseal-shares.js";

/**
 * `rks status`. Over HTTPS a sealed rks, which can check no token, says how it is sealed and no more.
 * @throws {RksError} UNREACHABLE, PERMISSION_DENIED.
 */
export async function status(args: ClusterArguments, io: CliIo): Promise<void> {
  const target = await findCluster(args, io);
  const sealed = target.isOverHttps ? await sealedStatus(target) : undefined;
  const { sealing, running } = sealed ?? (await wholeStatus(target));
  if (args.json) {
    printJson(io, running ?? sealing);
    return;
  }
  const { sealType, threshold, shares, progress } = sealing;
  const fields: [string, string][] = [
    ["initialized", String(sealing.initialized)],
    ["sealed", String(sealing.sealed)],
    ["seal", sealType === "shamir" ? `shamir, ${threshold} of ${shares} shares` : sealType],
  ];
  if (sealing.sealed && progress > 0) fields.push(["progress", `${progress} of ${threshold}`]);
  fields.push(...(running === undefined ? [] : processFields(running)), ["version", sealing.version]);
  io.stdout(formatFields(fields));
  if (sealing.sealed) printHint(io, "open the vault with `rks unseal`");
  if (running?.unattendedStart === "unusable") {
    printHint(
      io,
      "the unseal keys kept for an unattended start do not open this vault: put the new ones there",
    );
  }
}

type ProcessStatus = z.output<typeof statusAnswer>["data"];

/** What is known of an rks: how it is sealed, and the rest when it may be told. */
interface KnownStatus {
  readonly sealing: Pick<
    ProcessStatus,
    "initialized" | "sealed" | "sealType" | "threshold" | "shares" | "progress" | "version"
  >;
  readonly running: ProcessStatus | undefined;
}

async function wholeStatus(target: Asked): Promise<KnownStatus> {
  const { data } = await ask(target, statusAnswer, "GET", "/v1/rk8s/status");
  return { sealing: data, running: data };
}

/** Of a sealed rks; undefined for one that is open. */
async function sealedStatus(target: Asked): Promise<KnownStatus | undefined> {
  const answer = await ask(target, sealStatusAnswer, "GET", "/v1/sys/seal-status");
  if (!answer.sealed) return undefined;
  const { type: sealType, initialized, sealed, t: threshold, n: shares, progress, version } = answer;
  return {
    sealing: { initialized, sealed, sealType, threshold, shares, progress, version },
    running: undefined,
  };
}

function processFields(data: ProcessStatus): [string, string][] {
  return [
    ...(data.storage === undefined ? [] : storeFields(data.storage)),
    ["quic", data.quic ?? "closed"],
    ["http", data.http ?? "closed"],
    ["socket", data.socket],
    ["pid", String(data.pid)],
    ["started", data.startedAt],
  ];
}

export interface UnsealArguments extends TargetArguments, ShareArguments {}

/**
 * `rks unseal [KEY]`. Gives every share it finds until the vault opens; fewer than needed is no error. Over HTTPS none is taken from the
 * command line, nor from what was left beside a vault on this host.
 * @throws {RksError} UNSEAL_KEY_INVALID, USAGE_INVALID when there is no share anywhere, UNREACHABLE.
 */
export async function unseal(args: UnsealArguments, io: CliIo): Promise<void> {
  const target = await findCluster(args, io);
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

/** `rks seal`. @throws {RksError} UNREACHABLE, PERMISSION_DENIED. */
export async function seal(args: ClusterArguments, io: CliIo): Promise<void> {
  const target = await findCluster(args, io);
  await target.client.request("POST", "/v1/sys/seal");
  if (args.json) printJson(io, { sealed: true });
  else io.stdout("sealed\n");
  printHint(io, "agents are disconnected until `rks unseal`");
}

async function findShares(
  args: UnsealArguments,
  target: ClusterTarget,
  io: CliIo,
): Promise<readonly string[]> {
  if (target.isOverHttps && args.key !== undefined && args.key !== STDIN_WORD) {
    throw new RksError("USAGE_INVALID", "an unseal key is not taken from the command line over HTTPS", {
      suggestion: "Give it with `rks unseal --key-file FILE` or on stdin with `rks unseal -`.",
    });
  }
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
