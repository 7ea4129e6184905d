/**
 * That there is something new to read, for all watchers of one storage. What a watcher has heard of is a count that it takes
 * before it reads, so that nothing that happens while it reads is slept through.
 */
export class News {
  #revision = -1;
  #count = 0;
  readonly #waiting = new Set<() => void>();

  /** How often there was something new. */
  get count(): number {
    return this.#count;
  }

  /** Whether anybody waits. */
  get isAwaited(): boolean {
    return this.#waiting.size > 0;
  }

  /** Somebody committed this revision; what is known already is no news. */
  committed(revision: number): void {
    if (revision > this.#revision) this.found(revision);
  }

  /** The store is at this revision: after a server lost its last commits it may be an older one, which is news too. */
  found(revision: number): void {
    if (revision === this.#revision) return;
    this.#revision = revision;
    this.wake();
  }

  /** Let every watcher look. */
  wake(): void {
    this.#count += 1;
    // Waking takes the watcher out of the set; one that waits again comes in later, after this loop.
    for (const wake of this.#waiting) wake();
  }

  /** Resolves when there is more than `count`, or when `signal` is aborted. */
  next(count: number, signal: AbortSignal): Promise<void> {
    if (count !== this.#count || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        signal.removeEventListener("abort", wake);
        this.#waiting.delete(wake);
        resolve();
      };
      signal.addEventListener("abort", wake, { once: true });
      this.#waiting.add(wake);
    });
  }
}
