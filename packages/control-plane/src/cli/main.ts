import { type Invocation, parseArguments } from "./arguments.js";
import { type CliIo, processIo } from "./io.js";

/** Exit code of wrong usage (EX_USAGE of sysexits(3)). */
const USAGE = 64;

/**
 * Run one `rks` command. Never throws: what goes wrong is printed, and the exit code says what kind it was.
 * `argv` is without the program's own name.
 */
export async function main(argv: readonly string[], io: CliIo = processIo()): Promise<number> {
  try {
    return await carryOut(await parseArguments(argv), io);
  } catch (reason) {
    const { reportError } = await import("./output.js");
    return reportError(reason, io, argv.includes("--json"));
  }
}

async function carryOut(invocation: Invocation, io: CliIo): Promise<number> {
  if (invocation.type === "incomplete") {
    io.stderr(invocation.help);
    return USAGE;
  }
  if (invocation.type === "misuse") {
    const { RksError } = await import("@rk8s/protocol");
    throw new RksError("USAGE_INVALID", invocation.problem, {
      suggestion: "See `rks --help`, or `--help` after a command.",
    });
  }
  if (invocation.type === "print") io.stdout(invocation.text);
  else await invocation.run(io);
  return 0;
}
