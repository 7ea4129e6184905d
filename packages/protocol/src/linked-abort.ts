import { RksError } from "./errors.js";

/** Ends what may still be under way once the result is known. Nobody gets to see it. */
const SETTLED = new RksError("INTERNAL", "the work has settled");

/** Those that follow a signal: one listener for all of them, however many they are. */
interface Followers {
  readonly all: Set<LinkedAbort>;
  readonly tell: () => void;
}
const followersOf = new WeakMap<AbortSignal, Followers>();

/**
 * A signal of one piece of work: aborted by itself, or with any of the `outer` signals, which live longer. It must be aborted
 * or disposed when the work is over, and then nothing of it stays with those. `AbortSignal.any` leaves an entry
 * with each of the others for as long as that one lives, also when nobody has the made one any more (Node 20).
 */
export class LinkedAbort extends AbortController implements Disposable {
  readonly #outer: readonly AbortSignal[];

  constructor(...outer: readonly (AbortSignal | undefined)[]) {
    super();
    this.#outer = outer.filter((signal) => signal !== undefined);
    const before = this.#outer.find(({ aborted }) => aborted);
    if (before !== undefined) super.abort(before.reason);
    else for (const signal of this.#outer) follow(signal, this);
  }

  /** Once; what is said later changes nothing. Without a reason nobody may see the end. */
  override abort(reason: unknown = SETTLED): void {
    for (const signal of this.#outer) leave(signal, this);
    super.abort(reason);
  }

  [Symbol.dispose](): void {
    this.abort();
  }
}

function follow(signal: AbortSignal, one: LinkedAbort): void {
  const known = followersOf.get(signal);
  if (known !== undefined) {
    known.all.add(one);
    return;
  }
  const all = new Set([one]);
  const tell = (): void => {
    followersOf.delete(signal);
    for (const each of all) each.abort(signal.reason);
  };
  followersOf.set(signal, { all, tell });
  signal.addEventListener("abort", tell, { once: true });
}

function leave(signal: AbortSignal, one: LinkedAbort): void {
  const known = followersOf.get(signal);
  if (known === undefined) return;
  known.all.delete(one);
  if (known.all.size > 0) return;
  followersOf.delete(signal);
  signal.removeEventListener("abort", known.tell);
}
