import { type Logger, RksError } from "@rk8s/protocol";

/** What other processes that share the store write, for whoever keeps something in memory. */
export interface Changes {
  /** Call `listener` with each key of the barrier under `prefix` that another process has written or deleted. */
  on(prefix: string, listener: (key: string) => void): void;
  /** Call `listener` when writes may have been missed: whatever was read before may be old, revisions included. */
  onGap(listener: () => void): void;
}

/** Records that others may write, and what is done then. */
export interface FollowedRecords {
  /** Of the barrier; the name of a record follows it. */
  readonly prefix: string;
  /** Names of those that something here depends on. */
  readonly known: () => Iterable<string>;
  /** Look at one again. */
  readonly recheck: (name: string) => Promise<void>;
  readonly onFailure: (name: string, error: RksError) => void;
}

/** Look again at each record that another process has written or deleted, and at all that are known after a gap. */
export function followRecords(
  changes: Changes,
  { prefix, known, recheck, onFailure }: FollowedRecords,
): void {
  const look = (name: string): void => {
    recheck(name).catch((reason: unknown) => onFailure(name, RksError.from(reason)));
  };
  changes.on(prefix, (key) => look(key.slice(prefix.length)));
  changes.onGap(() => {
    for (const name of known()) look(name);
  });
}

/** Those who want to hear of changes; whoever hears of one tells them. */
export class Listeners implements Changes {
  readonly #logger: Logger;
  readonly #byPrefix: { readonly prefix: string; readonly listener: (key: string) => void }[] = [];
  readonly #ofGaps: (() => void)[] = [];

  constructor({ logger }: { readonly logger: Logger }) {
    this.#logger = logger;
  }

  on(prefix: string, listener: (key: string) => void): void {
    this.#byPrefix.push({ prefix, listener });
  }

  onGap(listener: () => void): void {
    this.#ofGaps.push(listener);
  }

  /** A key was written or deleted. */
  tell(key: string): void {
    for (const { prefix, listener } of this.#byPrefix) {
      if (key.startsWith(prefix)) this.#call(() => listener(key));
    }
  }

  /** Anything may have been. */
  gap(): void {
    for (const listener of this.#ofGaps) this.#call(listener);
  }

  #call(work: () => void): void {
    try {
      work();
    } catch (reason) {
      this.#logger.error("A change of another rks could not be taken in", { reason: String(reason) });
    }
  }
}

/** Of a store that this process has for itself. */
export const NO_CHANGES: Changes = { on: () => undefined, onGap: () => undefined };
