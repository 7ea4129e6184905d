import { constants } from "node:os";
import type { RestartPace } from "./restart-pace.js";
import type { Worker, WorkerEnd } from "./worker-process.js";

/** A stopping worker ends by itself within 9.5 s; what is left then is ended. */
const STOP_LIMIT_MS = 9800;

/** Exit codes that a worker means: done, wrong usage, bad data, nothing there, try again, refused, bad configuration. */
const FINAL_CODES: ReadonlySet<number> = new Set([0, 64, 65, 69, 75, 77, 78]);
/** Refused for good: the identity is worth nothing any more. */
const REFUSED = 77;

/** What a supervisor works with. */
export interface SupervisorPorts {
  readonly startWorker: () => Worker;
  /** The pipes that hold the identity; they are not looked into. */
  readonly pipes: { repair(): void; clear(): void };
  readonly pace: RestartPace;
  readonly monotonicMs: () => number;
  /** Ends early, without an error, when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Tell people. */
  readonly say: (line: string) => void;
  /** Calls back with SIGTERM, SIGINT and SIGHUP. */
  readonly onTerminate: (listener: (signal: NodeJS.Signals) => void) => Disposable;
  /** Calls back when the worker is to be replaced by one of the program that is on the disk now. */
  readonly onReplace: (listener: () => void) => Disposable;
}

/**
 * Run a worker until it ends on purpose, and start it again whenever it dies of anything else. Resolves with the exit
 * code of all. The first signal asks the worker to stop, the second ends it at once.
 */
export async function supervise(ports: SupervisorPorts): Promise<number> {
  return new Supervisor(ports).run();
}

class Supervisor {
  readonly #ports: SupervisorPorts;
  readonly #stop = new AbortController();
  #worker: Worker | undefined;
  #wasEverReady = false;
  /** Set when a second signal came. */
  #forcedCode: number | undefined;

  constructor(ports: SupervisorPorts) {
    this.#ports = ports;
  }

  async run(): Promise<number> {
    using _ = this.#listen();
    for (;;) {
      this.#ports.pipes.repair();
      const startedMs = this.#ports.monotonicMs();
      const worker = this.#ports.startWorker();
      this.#worker = worker;
      const end = await worker.ended;
      this.#worker = undefined;
      this.#wasEverReady ||= worker.wasReady;
      const code = this.#exitCode(end);
      if (code !== undefined) {
        if (code === REFUSED) this.#ports.pipes.clear();
        return code;
      }
      const livedMs = this.#ports.monotonicMs() - startedMs;
      const delayMs = this.#ports.pace.next({ livedMs, wasReady: worker.wasReady });
      this.#ports.say(
        `${describe(worker, end)}; it is started again${delayMs < 1000 ? "" : inSeconds(delayMs)}`,
      );
      await this.#ports.sleep(delayMs, this.#stop.signal);
      if (this.#stop.signal.aborted) return this.#forcedCode ?? 0;
    }
  }

  #listen(): Disposable {
    const listeners = [
      this.#ports.onTerminate((signal) => this.#terminate(signal)),
      this.#ports.onReplace(() => this.#replace()),
    ];
    return {
      [Symbol.dispose]() {
        for (const listener of listeners) listener[Symbol.dispose]();
      },
    };
  }

  /** What all ends with, or undefined for a death that the node survives. */
  #exitCode({ code, signal }: WorkerEnd): number | undefined {
    if (this.#forcedCode !== undefined) return this.#forcedCode;
    if (this.#stop.signal.aborted) {
      // A worker that has only begun to start ends by the very signal that asks it to stop.
      return code ?? (signal === "SIGKILL" || signal === "SIGTERM" ? 0 : numberOf(signal));
    }
    if (code === null) return undefined;
    // A program that never worked does not work the second time either.
    return FINAL_CODES.has(code) || !this.#wasEverReady ? code : undefined;
  }

  #terminate(signal: NodeJS.Signals): void {
    if (this.#stop.signal.aborted) {
      this.#forcedCode = numberOf(signal);
      this.#worker?.kill("SIGKILL");
      return;
    }
    this.#stop.abort();
    this.#worker?.kill("SIGTERM");
    this.#endInTime().catch(() => undefined);
  }

  async #endInTime(): Promise<void> {
    await this.#ports.sleep(STOP_LIMIT_MS, new AbortController().signal);
    this.#worker?.kill("SIGKILL");
  }

  /** A worker may die at any moment without harm; so this is all there is to replacing one. */
  #replace(): void {
    if (this.#stop.signal.aborted) return;
    this.#ports.say("the agent is replaced by the program that is on the disk now");
    this.#worker?.kill("SIGKILL");
  }
}

function describe({ pid }: Worker, { code, signal }: WorkerEnd): string {
  return `the agent's process ${pid ?? ""} ${signal === null ? `failed with exit code ${code}` : `was ended by ${signal}`}`;
}

function inSeconds(ms: number): string {
  return ` in ${(ms / 1000).toFixed(0)} s`;
}

/** As shells count it. */
function numberOf(signal: NodeJS.Signals | null): number {
  return 128 + (signal === null ? 0 : constants.signals[signal]);
}
