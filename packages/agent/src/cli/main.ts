import { processIo, ReportedFailure } from "@rk8s/host/cli-io";
import type { AgentIo } from "./agent-io.js";
import { parseArguments } from "./arguments.js";

/** Exit code of wrong usage (EX_USAGE of sysexits(3)). */
const USAGE = 64;

/**
 * Run one `rkl` command. Never throws: what goes wrong is printed, and the exit code says what kind it was. `argv` is
 * without the program's own name. A command's code is loaded when it runs, so that help and version stay fast.
 */
export async function main(argv: readonly string[], io: AgentIo = processIo()): Promise<number> {
  try {
    const invocation = await parseArguments(argv);
    if (invocation.type === "run") {
      await invocation.run(io);
      return 0;
    }
    if (invocation.type === "print") {
      io.stdout(invocation.text);
      return 0;
    }
    io.stderr(invocation.help);
    return USAGE;
  } catch (reason) {
    if (reason instanceof ReportedFailure) return reason.exitCode;
    const { reportError } = await import("./report-error.js");
    return reportError(reason, io, {
      json: argv.includes("--json"),
      isDaemon: argv[0] === "pod" && argv[1] === "daemon",
    });
  }
}
