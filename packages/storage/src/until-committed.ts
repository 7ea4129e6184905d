import { RksError } from "@rk8s/protocol";

/** Times that a change is thought through again because a record changed meanwhile. */
const MAX_ATTEMPTS = 8;

/**
 * Read, decide and commit until nothing that was read changed in between. `attempt` gives what came of it, or undefined when
 * its transaction found another state; then nothing was written. What it throws ends the change.
 * @throws {RksError} CONFLICT with `conflict` as its message, when others are faster again and again.
 */
export async function untilCommitted<T>(
  conflict: string,
  attempt: () => Promise<T | undefined>,
): Promise<Exclude<T, undefined>> {
  for (let count = 0; count < MAX_ATTEMPTS; count++) {
    const result = await attempt();
    if (result !== undefined) return result as Exclude<T, undefined>;
  }
  throw new RksError("CONFLICT", conflict, { suggestion: "Try again." });
}
