import { LinkedAbort } from "@rk8s/protocol";

export interface FirstSuccessOptions<T> {
  /** Start the next attempt when the one before has not succeeded after this long. */
  readonly staggerMs: number;
  readonly signal: AbortSignal;
  /** Give up what a slower attempt brought after all. */
  readonly discard: (value: T) => void;
}

/**
 * Try candidates one after another, each with a head start over the next, and take the first success (Happy Eyeballs,
 * RFC 8305 §5). A failed attempt lets the next begin at once. Once there is a winner the signal of all attempts is
 * aborted.
 * @throws AggregateError with the reasons of all attempts, in the order of the candidates, when none succeeds.
 */
export async function firstSuccess<C, T>(
  candidates: readonly C[],
  attempt: (candidate: C, signal: AbortSignal) => Promise<T>,
  options: FirstSuccessOptions<T>,
): Promise<T> {
  const race = new LinkedAbort(options.signal);
  const attempts: Promise<T>[] = [];
  let winner: { readonly value: T } | undefined;
  try {
    for (const candidate of candidates) {
      if (options.signal.aborted) break;
      const newest = attempt(candidate, race.signal);
      attempts.push(newest);
      if (attempts.length === candidates.length) break;
      winner = await successWithin(attempts, newest, options.staggerMs);
      if (winner !== undefined) return winner.value;
    }
    winner = { value: await Promise.any(attempts) };
    return winner.value;
  } finally {
    race.abort(new Error("another attempt was faster"));
    for (const started of attempts) discardLoser(started, winner, options.discard);
  }
}

function discardLoser<T>(
  started: Promise<T>,
  winner: { readonly value: T } | undefined,
  discard: (value: T) => void,
): void {
  started.then((value) => (value === winner?.value ? undefined : discard(value))).catch(() => undefined);
}

/** @returns undefined as soon as time is up or the newest attempt has failed. */
async function successWithin<T>(
  attempts: readonly Promise<T>[],
  newest: Promise<T>,
  ms: number,
): Promise<{ readonly value: T } | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  const never = new Promise<undefined>(() => undefined);
  const failure = newest.then(
    () => never,
    () => undefined,
  );
  const success = Promise.any(attempts).then(
    (value) => ({ value }),
    () => undefined,
  );
  try {
    return await Promise.race([success, failure, timeUp]);
  } finally {
    clearTimeout(timer);
  }
}
