import { ERROR_CODES } from "@rk8s/protocol";
import { type CliIo, ReportedFailure } from "./cli-io.js";
import type { Finding } from "./finding.js";
import { printable } from "./printable.js";

export { failure, type Finding } from "./finding.js";
export { type Found, Walk } from "./walk.js";

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
