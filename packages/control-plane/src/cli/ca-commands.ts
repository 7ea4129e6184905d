import { printable } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { parseDuration } from "@rk8s/protocol";
import type { RotationStep } from "../pki/cluster-rotation.js";
import { caStatusAnswer, caStepAnswer, type PrintedCaStatus } from "./answers.js";
import { ask } from "./ask.js";
import { findCluster } from "./cluster-target.js";
import type { ClusterArguments } from "./flags.js";
import { formatFields, formatTable, printHint, printJson } from "./output.js";

/** Names that are printed for people; `--json` has more. */
const MAX_NAMES = 20;

export interface CaStepArguments extends ClusterArguments {
  readonly step: RotationStep;
  /** Life of the new root. */
  readonly "root-ttl"?: string | undefined;
  /** Nodes that may be left behind. */
  readonly force?: readonly string[] | undefined;
}

/** `rks ca status`. @throws {RksError} UNREACHABLE, VAULT_SEALED. */
export async function caStatus(args: ClusterArguments, io: CliIo): Promise<void> {
  const { data } = await ask(await findCluster(args, io), caStatusAnswer, "GET", "/v1/rk8s/ca");
  if (args.json) printJson(io, data);
  else print(data, io);
}

/**
 * `rks ca prepare|activate|retire|rollback|taint|revoke`.
 * @throws {RksError} INPUT_INVALID for a time that is none, CA_PHASE_INVALID, UNREACHABLE, VAULT_SEALED.
 */
export async function caStep(args: CaStepArguments, io: CliIo): Promise<void> {
  const { step, force } = args;
  const ttl = args["root-ttl"];
  const body = {
    ...(ttl === undefined ? {} : { rootTtlSeconds: parseDuration(ttl) }),
    ...(force === undefined || force.length === 0 ? {} : { force }),
  };
  const target = await findCluster(args, io);
  const { data } = await ask(target, caStepAnswer, "POST", `/v1/rk8s/ca/${step}`, body);
  if (args.json) {
    printJson(io, data);
    return;
  }
  if (step === "taint") io.stdout(`join tokens revoked   ${data.tokensRevoked}\n`);
  print(data, io);
}

function print(status: PrintedCaStatus, io: CliIo): void {
  const { phase, generation, since, nodes, tokensWithOtherPin } = status;
  const fields: [string, string][] = [
    ["phase", `${phase} since ${since}`],
    ["generation", String(generation)],
    ["nodes", String(nodes)],
    ["not acknowledged", counted(status.notAcknowledgedCount, status.notAcknowledged)],
    ["with an old certificate", counted(status.withOldCertificateCount, status.withOldCertificate)],
    ["tokens of the other root", String(tokensWithOtherPin)],
  ];
  const roots = status.roots.map((root) => [
    String(root.number),
    root.standing,
    root.subject,
    root.notAfter,
    root.crossNotAfter ?? "-",
    root.spkiSha256,
  ]);
  const headings = ["ROOT", "STANDING", "SUBJECT", "EXPIRES", "CROSS-SIGNED UNTIL", "SPKI SHA-256"];
  io.stdout(printable(`${formatFields(fields)}${formatTable(headings, roots)}`));
  printHint(io, printable(status.next));
}

function counted(count: number, names: readonly string[]): string {
  if (count === 0) return "0";
  const more = count > MAX_NAMES ? " …" : "";
  return `${count}: ${names.slice(0, MAX_NAMES).join(" ")}${more}`;
}
