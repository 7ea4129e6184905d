import { resolve } from "node:path";
import { printable } from "@rk8s/host";
import { type CliIo, ReportedFailure } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import type { ChainHead } from "../audit/chain-link.js";
import { type Verification, verifyFiles } from "../audit/verify-files.js";
import { auditHeadAnswer } from "./answers.js";
import { ask } from "./ask.js";
import type { TargetArguments } from "./flags.js";
import { printHint, printJson } from "./output.js";
import { auditFileOf, findTarget } from "./target.js";

/** Exit code of data that is not what it should be (EX_DATAERR of sysexits(3)). */
const BROKEN = 65;

/**
 * `rks audit verify [FILE…]`: follow the chain of an audit log's records. Without files it is the log of the rks that the
 * config names, whose word on the last record is asked for when it runs; files alone are judged by themselves.
 * @throws {ReportedFailure} with 65 when the chain is broken; {RksError} NOT_FOUND, CONFIG_INVALID.
 */
export async function verifyAudit(
  args: TargetArguments & { readonly files: readonly string[] },
  io: CliIo,
): Promise<void> {
  const isNamed = args.files.length > 0;
  const asksRks = !isNamed || args.config !== undefined || args.socket !== undefined;
  const target = asksRks ? await findTarget(args, io) : undefined;
  const files = isNamed ? args.files.map((file) => resolve(io.cwd, file)) : [auditFileOf(target!)];
  // Before the first line is read: what is written meanwhile comes behind it.
  const confirmed = target === undefined ? undefined : await headOf(target, io);
  const found = await verifyFiles(files, confirmed);
  if (args.json) printJson(io, found);
  else print(found, io);
  if (!found.isGood) throw new ReportedFailure(BROKEN);
}

/** What the running rks wrote last; undefined when there is none to ask. */
async function headOf(
  target: NonNullable<Awaited<ReturnType<typeof findTarget>>>,
  io: CliIo,
): Promise<ChainHead | undefined> {
  try {
    return (await ask(target, auditHeadAnswer, "GET", "/v1/rk8s/audit/head")).data;
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
