import { printable, systemClock } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import { z } from "zod";
import { tailFile } from "../audit/tail-file.js";
import type { TargetArguments } from "./flags.js";
import { auditFileOf, findTarget } from "./target.js";

const MAX_LINES = 1_000_000;

const record = z.looseObject({
  time: z.string(),
  type: z.string(),
  operation: z.string(),
  actor: z.string(),
  outcome: z.string().optional(),
  code: z.string().optional(),
  fields: z.record(z.string(), z.unknown()).optional(),
});

export interface AuditTailArguments extends TargetArguments {
  readonly lines: string;
  readonly follow: boolean;
}

/**
 * `rks audit tail`: the last records of the audit log, and with `-f` those that follow. It reads the file; no rks has to run.
 * @throws {RksError} NOT_FOUND, PERMISSION_DENIED, USAGE_INVALID, CONFIG_INVALID.
 */
export async function tailAudit(args: AuditTailArguments, io: CliIo): Promise<void> {
  const lines = linesOf(args.lines);
  const file = auditFileOf(await findTarget(args, io));
  const stop = new AbortController();
  const end = (): void => stop.abort();
  const watched = [io.onTerminate(end), io.onStdoutClosed(end)];
  const { signal } = stop;
  try {
    for await (const line of tailFile(file, { lines, follow: args.follow, clock: systemClock, signal })) {
      const text = args.json ? asJson(line) : asText(line);
      if (text === undefined) io.stderr("a line is no record and was left out\n");
      else await io.writeStdout(`${text}\n`);
      if (signal.aborted) return;
    }
  } finally {
    for (const each of watched) each[Symbol.dispose]();
  }
}

/** As it is, if it is one document. */
function asJson(line: string): string | undefined {
  try {
    return JSON.stringify(JSON.parse(line));
  } catch {
    return undefined;
  }
}

function asText(line: string): string | undefined {
  const json = asJson(line);
  const parsed = record.safeParse(json === undefined ? undefined : JSON.parse(json));
  if (!parsed.success) return undefined;
  const { time, type, operation, actor, outcome = type, code, fields = {} } = parsed.data;
  const facts = Object.entries(fields).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  const words = [time, actor, operation, outcome, ...(code === undefined ? [] : [code]), ...facts];
  return printable(words.join("  "));
}

function linesOf(given: string): number {
  const lines = /^\d{1,7}$/.test(given) ? Number(given) : MAX_LINES + 1;
  if (lines <= MAX_LINES) return lines;
  throw new RksError(
    "USAGE_INVALID",
    `-n: "${given.slice(0, 40)}" is not a number of lines up to ${MAX_LINES}`,
    {
      suggestion: "Give a number such as -n 20.",
    },
  );
}
