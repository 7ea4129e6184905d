/** A timer that fires so much too late was held up: the process was stopped, or its host is overloaded. */
const LATE_MS = 50;
/** Time to read what came meanwhile; three packets of each of a thousand connections take about as long. */
const LISTEN_MS = 500;
/** At most so often, so that timers which are always late fire all the same. */
const AGAIN_AFTER_MS = 5000;

/**
 * Keeps a process that stood still from taking its own silence for its peers': before the timers of an endpoint's connections may
 * end any, there is a moment in which what came meanwhile is read. Times are of one monotonic clock, in milliseconds.
 */
export class Standstill {
  #until = -Infinity;

  /** Until when nothing may be concluded from silence. */
  get until(): number {
    return this.#until;
  }

  /** A timer fired now. Whether it was held up, or another one just before it was: it is to fire once more at `until`. */
  isHeldUp(nowMs: number, dueMs: number): boolean {
    if (nowMs < this.#until) return true;
    if (nowMs - dueMs <= LATE_MS || nowMs - this.#until < AGAIN_AFTER_MS) return false;
    this.#until = nowMs + LISTEN_MS;
    return true;
  }
}
