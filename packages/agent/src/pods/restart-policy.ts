import type { PodSpec } from "@rk8s/protocol";

/** Kubernetes' crash back-off: the first restart at once, then 10 s, doubled up to 5 min. */
const FIRST_DELAY_MS = 10_000;
const MAX_DELAY_MS = 300_000;
/** A container that ran this long has recovered; its next crash counts as the first one. */
const RECOVERED_MS = 600_000;
/** Share of the delay that is added at random, so that pods that fell together do not rise together. */
const JITTER = 0.1;

/** Whether a container that ended with `exitCode` is started again. */
export function shouldRestart(policy: PodSpec["restartPolicy"], exitCode: number): boolean {
  return policy === "Always" || (policy === "OnFailure" && exitCode !== 0);
}

/** How long after its end a container is started again that was restarted `restarts` times in a row before. */
export function restartDelayMs(restarts: number, random: () => number): number {
  if (restarts === 0) return 0;
  const delay = Math.min(FIRST_DELAY_MS * 2 ** (restarts - 1), MAX_DELAY_MS);
  return Math.round(delay * (1 + JITTER * random()));
}

/** Restarts in a row that count after a run of `ranMs`. */
export function restartsAfterRun(restarts: number, ranMs: number): number {
  return ranMs >= RECOVERED_MS ? 0 : restarts;
}
