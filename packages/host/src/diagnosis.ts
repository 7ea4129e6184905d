import { ERROR_CODES, RksError, type ErrorCode } from "@rk8s/protocol";
import { type CliIo, ReportedFailure } from "./cli-io.js";
import { printable } from "./printable.js";

/** One thing that a doctor looked at. */
export interface Finding {
  /** What was looked at, one or two words: `server chain`. */
  readonly check: string;
  /** `skip`: it could not be looked at, and the detail says why. */
  readonly status: "ok" | "warn" | "fail" | "skip";
  /** What was found. */
  readonly detail: string;
  /** Of a failure. */
  readonly code?: ErrorCode;
  /** What to do, one imperative sentence. */
  readonly remedy?: string;
}

/** The finding of a check that did not go well. */
export function failure(check: string, reason: unknown): Finding {
  const { code, message, suggestion } = RksError.from(reason);
  return {
    check,
    status: "fail",
    detail: message,
    code,
    ...(suggestion === undefined ? {} : { remedy: suggestion }),
  };
}

const CHECK_WIDTH = 14;

/**
 * Print findings as they come; with `json` one document at the end: `{"healthy", "findings": [{"check","status",
 * "detail","code"?,"remedy"?}]}`. Warnings leave it healthy.
 * @throws {ReportedFailure} with the exit code of the first failure.
 */
export async function reportFindings(
  findings: AsyncIterable<Finding>,
  io: Pick<CliIo, "stdout">,
  options: { readonly json: boolean },
): Promise<void> {
  const all: Finding[] = [];
  for await (const finding of findings) {
    all.push(finding);
    if (!options.json) io.stdout(lineOf(finding));
  }
  const failures = all.filter(({ status }) => status === "fail");
  if (options.json) io.stdout(`${JSON.stringify({ healthy: failures.length === 0, findings: all })}\n`);
  const [first] = failures;
  if (first !== undefined) throw new ReportedFailure(ERROR_CODES[first.code ?? "INTERNAL"].exit);
}

function lineOf({ check, status, detail, remedy }: Finding): string {
  const line = `${status.padEnd(5)} ${check.padEnd(CHECK_WIDTH)} ${printable(detail)}\n`;
  return remedy === undefined ? line : `${line}      ${"".padEnd(CHECK_WIDTH)} → ${printable(remedy)}\n`;
}
