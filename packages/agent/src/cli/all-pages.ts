import { RksError } from "@rk8s/protocol";

/** A million objects, or a gigabyte: no cluster has so many, and a terminal shows none of them. */
const MAX_PAGES = 1_000;

/** What one message of a list holds. */
export interface ObjectPage<T> {
  readonly objects: readonly T[];
  /** Where the next page begins; undefined: this is the last one. */
  readonly next: string | undefined;
}

/**
 * Everything of a list, which comes in as many messages as it needs (SPEC.md §11). Never a part of it.
 * @throws {RksError} MESSAGE_UNEXPECTED for a list without an end, and what `ask` throws.
 */
export async function allPages<T>(
  ask: (after: string | undefined) => Promise<ObjectPage<T>>,
): Promise<readonly T[]> {
  const all: T[] = [];
  let after: string | undefined;
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const { objects, next } = await ask(after);
    for (const object of objects) all.push(object);
    if (next === undefined) return all;
    if (next === after) break;
    after = next;
  }
  throw new RksError("MESSAGE_UNEXPECTED", `a list goes on and on after ${all.length} objects`, {
    suggestion: "Name one object, or a namespace with -n.",
  });
}
