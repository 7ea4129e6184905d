import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { KeptInput } from "./kept-input.js";
import type { PipeDescriptors } from "./pipe-pair.js";

/** The worker's program, beside rkl.js. */
const WORKER = fileURLToPath(new URL("../../bin/rkl-worker.js", import.meta.url));

/** Descriptors of a worker, after stdin, stdout and stderr. */
export const STASH_DESCRIPTORS: PipeDescriptors = [3, 4];

/** Locked memory for private keys, in bytes: a key takes 32 and 256 more go to the first; a power of two. */
const SECURE_HEAP_BYTES = 65_536;

/**
 * Core files are switched off, and the kernel kills the worker with its supervisor where setpriv can ask for that;
 * elsewhere the worker sees its channel close.
 */
const LAUNCHER = `ulimit -S -c 0 2>/dev/null
setpriv --pdeathsig KILL true 2>/dev/null && exec setpriv --pdeathsig KILL "$@"
exec "$@"`;

/** How a worker ended: by itself or by a signal. */
export interface WorkerEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A worker that runs, or ran. */
export interface Worker {
  readonly pid: number | undefined;
  /** Resolves, never rejects, when the process is gone. */
  readonly ended: Promise<WorkerEnd>;
  /** Whether the node has been in service. */
  readonly wasReady: boolean;
  kill(signal: NodeJS.Signals): void;
}

export interface WorkerInit {
  readonly argv: readonly string[];
  readonly pipes: PipeDescriptors;
  /** One word that tells the worker what survives an upgrade. */
  readonly upgrade: string;
  /** What it reads from stdin, until one is in service; undefined: it has ours. */
  readonly input?: KeptInput | undefined;
  /** Default: the worker's. */
  readonly program?: string;
}

/** Start a worker: the same terminal and the same words as ours, the two pipes, a channel. */
export function startWorker({ argv, pipes, upgrade, input, program = WORKER }: WorkerInit): Worker {
  const node = [
    process.execPath,
    ...process.execArgv,
    `--secure-heap=${SECURE_HEAP_BYTES}`,
    "--expose-gc", // dropped keys are freed, and so cleared, soon
    program,
  ];
  const child = spawn("/bin/sh", ["-c", LAUNCHER, "rkl", ...node, upgrade, ...argv], {
    stdio: [input === undefined ? "inherit" : "pipe", "inherit", "inherit", ...pipes, "ipc"],
  });
  if (input !== undefined) give(input, child);
  return new WorkerProcess(child, input);
}

function give(input: KeptInput, { stdin }: ChildProcess): void {
  const bytes = input.copy();
  // One that is killed does not read it.
  stdin?.on("error", () => undefined);
  stdin?.on("close", () => bytes.fill(0));
  stdin?.end(bytes);
}

class WorkerProcess implements Worker {
  readonly ended: Promise<WorkerEnd>;
  wasReady = false;
  readonly #child: ChildProcess;

  constructor(child: ChildProcess, input: KeptInput | undefined) {
    this.#child = child;
    child.on("message", (message) => {
      if (message !== READY) return;
      this.wasReady = true;
      input?.forget();
    });
    this.ended = new Promise((resolve) => {
      child.once("exit", (code, signal) => resolve({ code, signal }));
      // There is no shell, or no process is left: as a shell says it.
      child.once("error", () => child.pid ?? resolve({ code: 126, signal: null }));
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

/** What a worker says when the node is in service. */
export const READY = "ready";
