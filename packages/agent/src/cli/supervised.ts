import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { keepMemoryOutOfCoreDumps } from "../supervisor/core-dumps.js";
import { KeptInput } from "../supervisor/kept-input.js";
import { openPipes } from "../supervisor/open-pipes.js";
import { PipePair, type PipeDescriptors } from "../supervisor/pipe-pair.js";
import { RestartPace } from "../supervisor/restart-pace.js";
import { storePipes, takeStoredPipes } from "../supervisor/service-manager.js";
import { supervise } from "../supervisor/supervise.js";
import { startWorker } from "../supervisor/worker-process.js";

/**
 * Run `rkl pod daemon` as a worker of this process, which keeps the node's identity when the worker dies. Where that
 * cannot be done it runs in this process, with a warning. This process parses no command line, but for where the join token
 * comes from, and no message; it loads as little as it can.
 */
export async function main(argv: readonly string[]): Promise<number> {
  const held = holdPipes();
  if (held === undefined) return (await import("./main.js")).main(argv);
  const { pipes, upgrade } = held;
  keepMemoryOutOfCoreDumps();
  const input = KeptInput.read(argv, process.env);
  return supervise({
    startWorker: () => startWorker({ argv, pipes, upgrade, input }),
    pipes: new PipePair(pipes),
    pace: new RestartPace(),
    monotonicMs: () => performance.now(),
    sleep: (ms, signal) => sleep(ms, undefined, { signal }).catch(() => undefined),
    say,
    onTerminate: (listener) => onSignals(["SIGTERM", "SIGINT", "SIGHUP"], listener),
    onReplace: (listener) => onSignals(["SIGUSR2"], listener),
  });
}

function holdPipes(): { readonly pipes: PipeDescriptors; readonly upgrade: string } | undefined {
  if (process.platform !== "linux") {
    say(`no supervision on ${process.platform}: the node is lost when its process dies`);
    return undefined;
  }
  const stored = takeStoredPipes(process.env, process.pid);
  if (stored !== undefined) return { pipes: stored, upgrade: "systemd" };
  try {
    const pipes = openPipes([process.env["XDG_RUNTIME_DIR"] || "/run", tmpdir(), "/dev/shm"]);
    return { pipes, upgrade: storePipes(pipes, process.env) ? "systemd" : "supervisor" };
  } catch (error) {
    say(`no supervision, the node is lost when its process dies: ${(error as Error).message}`);
    return undefined;
  }
}

function onSignals<S extends NodeJS.Signals>(names: readonly S[], listener: (signal: S) => void): Disposable {
  for (const name of names) process.on(name, listener as NodeJS.SignalsListener);
  return {
    [Symbol.dispose]() {
      for (const name of names) process.off(name, listener as NodeJS.SignalsListener);
    },
  };
}

function say(line: string): void {
  process.stderr.write(`rkl: ${line}\n`);
}
