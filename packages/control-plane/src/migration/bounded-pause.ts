import type { Clock, RksError } from "@rk8s/protocol";
import type { WritePause } from "./switchable-storage.js";

export interface PauseBound {
  readonly clock: Pick<Clock, "sleep">;
  /** From now on. */
  readonly timeoutMs: number;
  /** What is said then. */
  readonly tooLong: () => RksError;
}

/** A pause in which nobody waits for long: what waits, or comes, after `timeoutMs` is refused. It may be resumed twice. */
export function boundedPause(pause: WritePause, { clock, timeoutMs, tooLong }: PauseBound): WritePause {
  const over = new AbortController();
  const { signal } = over;
  clock.sleep(Math.max(0, timeoutMs), { signal, background: true }).then(
    () => pause.refuse(tooLong()),
    () => undefined,
  );
  return {
    get revision() {
      return pause.revision;
    },
    switchTo: (next, revision) => {
      over.abort();
      return pause.switchTo(next, revision);
    },
    resume: () => {
      if (signal.aborted) return;
      over.abort();
      pause.resume();
    },
    refuse: (reason) => pause.refuse(reason),
  };
}
