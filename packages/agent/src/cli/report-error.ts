import { printable } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import { printHint, printJson } from "./output.js";
import { UsageProblem } from "./usage-problem.js";

/** Print an error the way every command does; returns the exit code. */
export function reportError(
  reason: unknown,
  io: CliIo,
  options: { readonly json: boolean; readonly isDaemon: boolean },
): number {
  const error =
    reason instanceof UsageProblem
      ? new RksError("USAGE_INVALID", reason.message, { suggestion: reason.suggestion })
      : RksError.from(reason);
  const { code, message, suggestion } = error;
  if (options.json) {
    const hint = suggestion === undefined ? {} : { suggestion };
    const time = new Date().toISOString();
    printJson(
      io,
      options.isDaemon ? { event: "error", time, code, message, ...hint } : { error: error.toJSON() },
    );
  }
  io.stderr(`rkl: ${printable(message)}\n`);
  if (code === "INTERNAL" && error.cause !== undefined) io.stderr(`${describeCause(error.cause)}\n`);
  if (suggestion !== undefined) printHint(io, printable(suggestion));
  return error.info.exit;
}

function describeCause(cause: unknown): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}
