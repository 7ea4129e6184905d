import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { printable } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { parseDuration, RksError } from "@rk8s/protocol";
import type { RotationStep } from "../pki/cluster-rotation.js";
import { caRequestAnswer, caStatusAnswer, caStepAnswer, type PrintedCaStatus } from "./answers.js";
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
  /** Nodes and members of the store that may be left behind. */
  readonly force?: readonly string[] | undefined;
  /** File with what an offline root has signed. */
  readonly certificates?: string | undefined;
}

export interface CaRequestArguments extends ClusterArguments {
  readonly fresh?: boolean | undefined;
}

/** `rks ca status`. @throws {RksError} UNREACHABLE, VAULT_SEALED. */
export async function caStatus(args: ClusterArguments, io: CliIo): Promise<void> {
  const { data } = await ask(await findCluster(args, io), caStatusAnswer, "GET", "/v1/rk8s/ca");
  if (args.json) printJson(io, data);
  else print(data, io);
}

/** `rks ca csr`: the request alone on stdout. @throws {RksError} UNREACHABLE, VAULT_SEALED. */
export async function caRequest(args: CaRequestArguments, io: CliIo): Promise<void> {
  const target = await findCluster(args, io);
  const body = args.fresh === undefined ? {} : { fresh: args.fresh };
  const { data } = await ask(target, caRequestAnswer, "POST", "/v1/rk8s/ca/csr", body);
  if (args.json) printJson(io, data);
  else io.stdout(data.csr);
  printHint(
    io,
    "let the offline root sign it, then run `rks ca renew --certificates FILE`, or `rks ca prepare --certificates FILE` for another root",
  );
}

/**
 * `rks ca prepare|activate|retire|rollback|taint|revoke|renew`.
 * @throws {RksError} INPUT_INVALID for a time that is none or a file that cannot be read, CA_PHASE_INVALID,
 * CERTIFICATE_INVALID, UNREACHABLE, VAULT_SEALED.
 */
export async function caStep(args: CaStepArguments, io: CliIo): Promise<void> {
  const { step, force, certificates } = args;
  const ttl = args["root-ttl"];
  const body = {
    ...(certificates === undefined
      ? {}
      : { certificates: await readCertificates(resolve(io.cwd, certificates)) }),
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

async function readCertificates(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new RksError("INPUT_INVALID", `the certificates in "${file}" cannot be read`, {
      cause,
      suggestion: "Give the file with the intermediate and its root, in PEM.",
    });
  }
}

function print(status: PrintedCaStatus, io: CliIo): void {
  const { phase, generation, since, nodes, tokensWithOtherPin } = status;
  const behind = status.storeMembersBehind.map(({ endpoint, code }) => `${endpoint} (${code})`);
  const fields: [string, string][] = [
    ["phase", `${phase} since ${since}`],
    ["generation", String(generation)],
    ["nodes", String(nodes)],
    ["not acknowledged", counted(status.notAcknowledgedCount, status.notAcknowledged)],
    ["with an old certificate", counted(status.withOldCertificateCount, status.withOldCertificate)],
    ...(status.storeMembers === 0
      ? []
      : ([["store members behind", counted(behind.length, behind)]] as [string, string][])),
    ["tokens of the other root", String(tokensWithOtherPin)],
  ];
  const roots = status.roots.flatMap((root) => [
    [
      String(root.number),
      root.standing,
      root.subject,
      root.notAfter,
      root.crossNotAfter ?? "-",
      root.spkiSha256,
    ],
    ...root.intermediates.map((one) => [
      `${root.number}*`,
      one.standing,
      one.subject,
      one.notAfter,
      "-",
      one.spkiSha256,
    ]),
  ]);
  const headings = ["ROOT", "STANDING", "SUBJECT", "EXPIRES", "CROSS-SIGNED UNTIL", "SPKI SHA-256"];
  io.stdout(printable(`${formatFields(fields)}${formatTable(headings, roots)}`));
  for (const warning of status.warnings) io.stderr(printable(`warning: ${warning}\n`));
  printHint(io, printable(status.next));
}

function counted(count: number, names: readonly string[]): string {
  if (count === 0) return "0";
  const more = count > MAX_NAMES ? " …" : "";
  return `${count}: ${names.slice(0, MAX_NAMES).join(" ")}${more}`;
}
