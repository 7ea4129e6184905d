import { setTimeout as sleep } from "node:timers/promises";

const STEP_MS = 100;

/**
 * Ask again until the answer satisfies, for states that only polling shows. The test's own time limit ends it.
 * Returns the answer.
 */
export async function eventually<T>(ask: () => Promise<T>, satisfies: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (satisfies(answer)) return answer;
    await sleep(STEP_MS);
  }
}
