import { aborted, RksError, type Clock, type RksMessage } from "@rk8s/protocol";

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

/** Where an answer waits for the control plane to go on with it. */
export interface LeftReply {
  /** The name to ask for it with. */
  readonly resume: string;
  /** Resolves when it was asked for, or is kept no more. */
  readonly gone: Promise<void>;
}

/** How long a place is kept: the control plane asks for it within a round trip, unless its operator reads slowly. */
const KEEP_MS = 60_000;
/** Places kept at a time; the oldest makes room. */
const MAX_KEPT = 64;

/** Where answers stopped that go on over another connection, each by a name that nobody can guess. */
export class MovedReplies implements Disposable {
  readonly #clock: Clock;
  readonly #kept = new Map<string, { readonly rest: RestOfReply; readonly timer: AbortController }>();

  constructor(ports: { readonly clock: Clock }) {
    this.#clock = ports.clock;
  }

  /** Keep the rest of an answer. */
  leave(rest: RestOfReply): LeftReply {
    const resume = crypto.randomUUID();
    const timer = new AbortController();
    this.#kept.set(resume, { rest, timer });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_KEPT && oldest !== undefined) this.#drop(oldest);
    const expire = async (): Promise<void> => {
      await this.#clock.sleep(KEEP_MS, { signal: timer.signal, background: true });
      this.#drop(resume);
    };
    expire().catch(() => undefined);
    return { resume, gone: aborted(timer.signal) };
  }

  /** The rest of an answer, once. @throws {RksError} NOT_FOUND. */
  take(resume: string): RestOfReply {
    const kept = this.#kept.get(resume);
    if (kept === undefined) throw new RksError("NOT_FOUND", "that answer is not kept any more");
    this.#kept.delete(resume);
    kept.timer.abort();
    return kept.rest;
  }

  /** End everything that is kept. */
  [Symbol.dispose](): void {
    for (const resume of this.#kept.keys()) this.#drop(resume);
  }

  #drop(resume: string): void {
    if (this.#kept.has(resume)) this.take(resume).life.abort();
  }
}
