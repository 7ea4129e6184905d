import { watch, type FSWatcher } from "node:fs";
import { type Clock, LinkedAbort } from "@rk8s/protocol";

/** Exit files are looked for this often although nobody said that one came: a lost container leaves none. */
const LOOK_MS = 1000;
/** The same where the folder cannot be watched, for example because the user's inotify watches are used up. */
const LOOK_UNWATCHED_MS = 100;

/** Wakes those who wait for a container's exit, when a file appears in the folder of exit files and now and then. */
export class ExitWatch implements Disposable {
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  #watcher: FSWatcher | undefined;

  constructor(folder: string, ports: { readonly clock: Clock }) {
    this.#clock = ports.clock;
    try {
      this.#watcher = watch(folder, { persistent: false }, () => this.#wake());
      this.#watcher.on("error", () => this[Symbol.dispose]());
    } catch {
      // #watcher stays undefined; waiters look more often.
    }
  }

  /** Resolves when it is worth looking again, at the latest after `atMostMs`. @throws the signal's reason. */
  async next(options: { readonly signal: AbortSignal; readonly atMostMs?: number }): Promise<void> {
    const { signal, atMostMs = Infinity } = options;
    signal.throwIfAborted();
    const limitMs = Math.min(atMostMs, this.#watcher === undefined ? LOOK_UNWATCHED_MS : LOOK_MS);
    const settled = new LinkedAbort(signal);
    let wake!: () => void;
    const woken = new Promise<void>((resolve) => (wake = resolve));
    this.#waiting.add(wake);
    const slept = this.#clock.sleep(limitMs, { signal: settled.signal });
    try {
      await Promise.race([woken, slept]);
    } finally {
      this.#waiting.delete(wake);
      slept.catch(() => undefined);
      settled.abort();
    }
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }
}
