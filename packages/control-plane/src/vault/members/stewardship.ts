/**
 * What one of the processes that share a store must do, and no two at once: looking for what has expired, tidying, judging
 * nodes that nobody serves, rotating by itself. Whoever has it asks anew before each round of the work.
 */
export interface Stewardship {
  /** Whether this process has it now. */
  readonly isHeld: boolean;
  /** Resolves when this process has it, or when `signal` is aborted. */
  whenHeld(signal: AbortSignal): Promise<void>;
}

/** A process that has its store for itself. */
export const ALONE: Stewardship = { isHeld: true, whenHeld: () => Promise.resolve() };
