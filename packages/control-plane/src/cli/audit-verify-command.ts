import { resolve } from "node:path";
import { printable } from "@rk8s/host";
import { type CliIo, ReportedFailure } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import type { z } from "zod";
import type { ChainHead } from "../audit/chain-link.js";
import { type Verification, verifyFiles } from "../audit/verify-files.js";
import { auditHeadAnswer, deviceHeadAnswer } from "./answers.js";
import { ask } from "./ask.js";
import type { ClusterArguments } from "./flags.js";
import { printHint, printJson } from "./output.js";
import { auditFileOf, findTarget } from "./target.js";

/** Exit code of data that is not what it should be (EX_DATAERR of sysexits(3)). */
const BROKEN = 65;

export interface AuditVerifyArguments extends ClusterArguments {
  readonly files: readonly string[];
  /** Path of an audit device of the vault. */
  readonly device?: string | undefined;
}

/** What is read, and what the writer says that it wrote last. */
interface Verified {
  readonly files: readonly string[];
  readonly confirmed: ChainHead | undefined;
}

/**
 * `rks audit verify [FILE…]`: follow the chain of an audit log's records. Without files it is the log of the rks that the
 * config names, whose word on the last record is asked for when it runs; files alone are judged by themselves. With
 * `--device` it is the file of an audit device, and the vault is asked.
 * @throws {ReportedFailure} with 65 when the chain is broken; {RksError} NOT_FOUND, CONFIG_INVALID, and as the vault answers.
 */
export async function verifyAudit(args: AuditVerifyArguments, io: CliIo): Promise<void> {
  // Before the first line is read: what is written meanwhile comes behind it.
  const { files, confirmed } =
    args.device === undefined ? await ofCluster(args, io) : await ofDevice(args.device, args, io);
  const found = await verifyFiles(files, confirmed);
  if (args.json) printJson(io, found);
  else print(found, io);
  if (!found.isGood) throw new ReportedFailure(BROKEN);
}

async function ofCluster(args: AuditVerifyArguments, io: CliIo): Promise<Verified> {
  if (args["token-file"] !== undefined) {
    throw new RksError("USAGE_INVALID", "--token-file is for the vault, and the log is the cluster's", {
      suggestion: "Name the audit device with --device, or leave --token-file out.",
    });
  }
  const files = named(args, io);
  const asksRks = files.length === 0 || args.config !== undefined || args.socket !== undefined;
  if (!asksRks) return { files, confirmed: undefined };
  const target = await findTarget(args, io);
  const confirmed = await unlessDown(
    async () => (await ask(target, auditHeadAnswer, "GET", "/v1/rk8s/audit/head")).data,
    io,
  );
  return { files: files.length === 0 ? [auditFileOf(target)] : files, confirmed };
}

async function ofDevice(device: string, args: AuditVerifyArguments, io: CliIo): Promise<Verified> {
  const { findVault } = await import("./vault/vault-target.js");
  const { client } = await findVault(args, io);
  const path = `sys/audit-head/${device.replace(/^\/+|\/+$/g, "")}`;
  const headOf = async (): Promise<z.output<typeof deviceHeadAnswer>["data"]> => {
    const reply = await client.ask({ method: "GET", path });
    const answer = deviceHeadAnswer.safeParse(reply.type === "document" ? reply.document : undefined);
    if (answer.success) return answer.data.data;
    throw new RksError("MESSAGE_INVALID", `what answered does not know "${path}"`, {
      suggestion: "Use an rks command of the same version as the rks that runs.",
    });
  };
  const files = named(args, io);
  // Only rks knows the file of a device.
  const head = files.length === 0 ? await headOf() : await unlessDown(headOf, io);
  return { files: files.length === 0 && head !== undefined ? [head.file_path] : files, confirmed: head };
}

function named({ files }: AuditVerifyArguments, io: CliIo): readonly string[] {
  return files.map((file) => resolve(io.cwd, file));
}

/** What the running rks says; undefined when there is none to ask. */
async function unlessDown<T>(headOf: () => Promise<T>, io: CliIo): Promise<T | undefined> {
  try {
    return await headOf();
  } catch (reason) {
    const { code, message } = RksError.from(reason);
    if (code !== "UNREACHABLE" && code !== "VAULT_SEALED") throw reason;
    io.stderr(`${printable(message)}\n`);
    printHint(io, "without rks nobody says how the log ends: records missing at the end are not noticed");
    return undefined;
  }
}

function print(found: Verification, io: CliIo): void {
  for (const { file, lines, first, last, unfinishedBytes } of found.files) {
    const records = first === null ? "no records of a chain" : `records ${first} to ${last ?? first}`;
    const rest = unfinishedBytes === 0 ? "" : `, and ${unfinishedBytes} bytes of a line that was not ended`;
    io.stderr(`${printable(file)}: ${lines} lines, ${records}${rest}\n`);
  }
  if (found.unchained > 0)
    io.stderr(`${found.unchained} lines are from before the chain and are not judged\n`);
  for (const { file, line, message } of found.problems) {
    io.stdout(`${printable(file)}:${line}: ${message}\n`);
  }
  if (found.problemCount > found.problems.length) io.stdout(`${found.problemCount} problems in all\n`);
  if (!found.isGood) return;
  const { head } = found;
  io.stdout(
    head === null ? "nothing to verify\n" : `ok: unbroken up to record ${head.sequence} ${head.sha256}\n`,
  );
  if (head !== null && !found.isConfirmed)
    printHint(io, "the last record is confirmed by nobody but the file");
  const [first] = found.files.filter((file) => file.first !== null);
  if ((first?.first ?? 1) > 1) {
    printHint(
      io,
      `records 1 to ${(first?.first ?? 1) - 1} are in other files: name them as well to verify all`,
    );
  }
}
