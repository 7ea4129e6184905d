import { type CliIo, processIo, ReportedFailure } from "@rk8s/host/cli-io";
import { type Invocation, parseArguments } from "./arguments.js";
import { isVaultVerb } from "./vault/vault-commands.js";

/** Exit code of wrong usage (EX_USAGE of sysexits(3)). */
const USAGE = 64;
/** Exit code of a defect (EX_SOFTWARE of sysexits(3)). */
const DEFECT = 70;

/**
 * Run one `rks` command. Never throws: what goes wrong is printed, and the exit code says what kind it was.
 * `argv` is without the program's own name. What nobody caught ends the process with the exit code of a defect.
 */
export async function main(argv: readonly string[], io: CliIo = processIo()): Promise<number> {
  io.onCrash((reason) => endByDefect(reason, io));
  try {
    return await carryOut(await parseArguments(argv), io);
  } catch (reason) {
    if (reason instanceof ReportedFailure) return reason.exitCode;
    const { reportError } = await import("./output.js");
    return reportError(reason, io, wantsJson(argv, io));
  }
}

/** Whether the one document on stdout is expected, however the flag is spelled. */
function wantsJson(argv: readonly string[], io: CliIo): boolean {
  if (isVaultVerb(argv[0]) && io.env["VAULT_FORMAT"] === "json") return true;
  return argv.some(
    (word, at) =>
      /^--?json$/.test(word) ||
      /^--?format=json$/.test(word) ||
      (/^--?format$/.test(word) && argv[at + 1] === "json"),
  );
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

function endByDefect(reason: unknown, io: CliIo): void {
  const trace = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason);
  io.stderr(`rks: a defect ends this process\n${trace}\n`);
  io.exit(DEFECT);
}
