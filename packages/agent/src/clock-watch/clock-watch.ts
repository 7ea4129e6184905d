import type { Clock } from "@rk8s/protocol";

/** Time that did not pass as it should, as far as two looks at the clocks show. */
export interface ClockBreak {
  /** How much longer than asked for a sleep took, in milliseconds: the process stood still (SIGSTOP, an overloaded host). */
  readonly pausedMs: number;
  /**
   * By how much the wall clock moved against the monotonic one, in milliseconds: somebody set it, or, when positive, the
   * host was suspended, during which the monotonic clock stands still.
   */
  readonly shiftedMs: number;
}

/** Calls `onBreak` until the signal is aborted, and then rejects with its reason. */
export type ClockWatch = (
  onBreak: (clockBreak: ClockBreak) => void,
  options: { readonly clock: Clock; readonly signal: AbortSignal },
) => Promise<never>;

/** Between two looks at the clocks. A wake-up or a jump is noticed within this time. */
const LOOK_INTERVAL_MS = 2000;

/** A busy event loop and a garbage collection stay below this; a process that stood still for longer has missed something. */
const MIN_PAUSE_MS = 5000;

/** NTP slews 0.5 ms a second, and reading two clocks takes a moment; a second is neither. */
const MIN_SHIFT_MS = 1000;

/** A clock that is set to and fro all the time is told about this often at most. */
const MIN_REPORT_INTERVAL_MS = 30_000;

/**
 * Look at the wall clock and the monotonic one every two seconds and tell when they disagree with each other or with
 * the time that was slept: after a suspension of the host, a stop of the process, and when somebody sets the clock.
 * The first break is told at once, later ones together after half a minute at the earliest.
 *
 * Timers of this process run by the monotonic clock: they are right after a jump of the wall clock, and late after a
 * suspension. Whatever depends on the wall clock is to be looked at again in `onBreak`.
 * @throws the signal's reason when it is aborted; it has no other end.
 */
export async function watchClocks(
  onBreak: (clockBreak: ClockBreak) => void,
  options: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<never> {
  const { clock, signal } = options;
  let unsaid: ClockBreak = { pausedMs: 0, shiftedMs: 0 };
  let earliestMs = -Infinity;
  for (;;) {
    const before = readClocks(clock);
    await clock.sleep(LOOK_INTERVAL_MS, { signal, background: true });
    const after = readClocks(clock);
    unsaid = sum(unsaid, between(before, after));
    const { pausedMs, shiftedMs } = unsaid;
    if ((pausedMs === 0 && shiftedMs === 0) || after.monotonicMs < earliestMs) continue;
    earliestMs = after.monotonicMs + MIN_REPORT_INTERVAL_MS;
    unsaid = { pausedMs: 0, shiftedMs: 0 };
    onBreak({ pausedMs, shiftedMs });
  }
}

interface Reading {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

function readClocks(clock: Clock): Reading {
  return { wallMs: clock.now(), monotonicMs: clock.monotonicMs() };
}

function between(before: Reading, after: Reading): ClockBreak {
  const passedMs = after.monotonicMs - before.monotonicMs;
  const pausedMs = passedMs - LOOK_INTERVAL_MS;
  const shiftedMs = after.wallMs - before.wallMs - passedMs;
  return {
    pausedMs: pausedMs >= MIN_PAUSE_MS ? Math.round(pausedMs) : 0,
    shiftedMs: Math.abs(shiftedMs) >= MIN_SHIFT_MS ? Math.round(shiftedMs) : 0,
  };
}

function sum(a: ClockBreak, b: ClockBreak): ClockBreak {
  return { pausedMs: a.pausedMs + b.pausedMs, shiftedMs: a.shiftedMs + b.shiftedMs };
}
