import { RksError, type Clock, type RksMessage } from "@rk8s/protocol";

/** An answer of raw bytes that has stopped between two chunks, and goes on over another connection. */
export interface RestOfReply {
  /** What the answer began with. */
  readonly message: RksMessage;
  readonly chunks: AsyncIterator<Uint8Array>;
  /** A chunk that was asked for already. */
  readonly next: Promise<IteratorResult<Uint8Array>>;
  /** Ends whatever makes the chunks. */
  readonly life: AbortController;
}

/** How long a place is kept: the control plane asks for it within a round trip, unless its operator reads slowly. */
const KEEP_MS = 60_000;
/** Places kept at a time; the oldest makes room. */
const MAX_KEPT = 64;

/** Where answers stopped that go on over another connection, each by a name that nobody can guess. */
export class MovedReplies implements Disposable {
  readonly #clock: Clock;
  readonly #kept = new Map<string, RestOfReply>();
  readonly #life = new AbortController();

  constructor(ports: { readonly clock: Clock }) {
    this.#clock = ports.clock;
  }

  /** Keep the rest of an answer; gives the name to ask for it with. */
  leave(rest: RestOfReply): string {
    const resume = crypto.randomUUID();
    this.#kept.set(resume, rest);
    for (const [oldest] of this.#kept) {
      if (this.#kept.size <= MAX_KEPT) break;
      this.#drop(oldest);
    }
    this.#clock.sleep(KEEP_MS, { signal: this.#life.signal, background: true }).then(
      () => this.#drop(resume),
      () => undefined,
    );
    return resume;
  }

  /** The rest of an answer, once. @throws {RksError} NOT_FOUND. */
  take(resume: string): RestOfReply {
    const rest = this.#kept.get(resume);
    if (rest === undefined) throw new RksError("NOT_FOUND", "that answer is not kept any more");
    this.#kept.delete(resume);
    return rest;
  }

  /** End everything that is kept. */
  [Symbol.dispose](): void {
    this.#life.abort();
    for (const resume of this.#kept.keys()) this.#drop(resume);
  }

  #drop(resume: string): void {
    const rest = this.#kept.get(resume);
    this.#kept.delete(resume);
    rest?.life.abort();
  }
}
