import { Bell } from "@rk8s/protocol";

/**
 * That there is something new to read, for all watchers of one storage. What a watcher has heard of is a count that it takes
 * before it reads, so that nothing that happens while it reads is slept through.
 */
export class News {
  #revision = -1;
  #count = 0;
  readonly #bell = new Bell();

  /** How often there was something new. */
  get count(): number {
    return this.#count;
  }

  /** Whether anybody waits. */
  get isAwaited(): boolean {
    return this.#bell.isAwaited;
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
    this.#bell.ring();
  }

  /** Resolves when there is more than `count`, or when `signal` is aborted. */
  async next(count: number, signal: AbortSignal): Promise<void> {
    if (count === this.#count && !signal.aborted) await this.#bell.wait(signal);
  }
}
