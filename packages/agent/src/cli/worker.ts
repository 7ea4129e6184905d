import { type CliIo, processIo } from "@rk8s/host/cli-io";
import { keepMemoryOutOfCoreDumps } from "../supervisor/core-dumps.js";
import { createPipeStash } from "../supervisor/pipe-stash.js";
import { READY, STASH_DESCRIPTORS } from "../supervisor/worker-process.js";
import { main as runCommand } from "./main.js";

/** Killed like the supervisor: nothing is told to anybody, pods go on running. */
const SUPERVISOR_IS_GONE = 137;

/**
 * The process that is the agent, below its supervisor. `argv`: what survives an upgrade, then the words of the user's
 * command line.
 */
export async function main(argv: readonly string[]): Promise<number> {
  const [upgrade = "no", ...words] = argv;
  endWithSupervisor();
  keepMemoryOutOfCoreDumps();
  return runCommand(words, {
    ...supervisedIo(),
    supervisor: {
      pid: process.ppid,
      stash: createPipeStash(STASH_DESCRIPTORS),
      survives: { crash: "supervisor", upgrade },
      ready: () => void process.send?.(READY),
    },
  });
}

/** No orphan goes on as the node: a supervisor that was started again would make a second one. */
function endWithSupervisor(): void {
  const end = (): never => process.exit(SUPERVISOR_IS_GONE);
  process.on("disconnect", end);
  process.channel?.unref();
  if (!process.connected) end();
}

/** Signals come from the supervisor as SIGTERM; Ctrl-C reaches both processes and counts once. */
function supervisedIo(): CliIo {
  const io = processIo();
  for (const name of ["SIGINT", "SIGHUP"]) process.on(name, () => undefined);
  return {
    ...io,
    onTerminate(listener) {
      process.on("SIGTERM", listener);
      return { [Symbol.dispose]: () => void process.off("SIGTERM", listener) };
    },
  };
}
