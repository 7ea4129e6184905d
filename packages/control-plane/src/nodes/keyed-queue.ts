/**
 * Runs work one after another per key, and work of different keys side by side. Nothing is kept of a key
 * without work.
 */
export class KeyedQueue {
  readonly #last = new Map<string, Promise<void>>();

  /** Run `work` after everything that was queued for the key before; its failure is the caller's alone. */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const result = before.then(work);
    const settled = result.then(
      () => undefined,
      () => undefined,
    );
    this.#last.set(key, settled);
    try {
      return await result;
    } finally {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    }
  }
}
