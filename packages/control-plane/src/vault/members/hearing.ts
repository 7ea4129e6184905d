import { type Clock, LinkedAbort, type Logger, RksError } from "@rk8s/protocol";
import { type Change, revisionOf, type Storage } from "@rk8s/storage";

import { type Barrier, BARRIER_PREFIX, SEQUENCE_PREFIX, writerOfCounter } from "../seal/barrier.js";
import { Listeners } from "./changes.js";

/** How often the counters are compared with what was heard. */
const CHECK_MS = 400;
/** How long a write may be on its way, and how long the store may take to tell its counters. */
const GRACE_MS = 300;
/** When what others write was not known for so long, the store is not just slow. */
const CUT_OFF_MS = 2_000;
/** Pause before the store is watched again after it failed. */
const RETRY_MS = 250;

export interface HearingPorts {
  /** Below the barrier. */
  readonly storage: Storage;
  readonly barrier: Barrier;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Hears what other processes write to the store: one watch for the whole process. That nothing is missed does not rest on the
 * watch: every transaction moves its writer's counter, and the counters are read again and again. When the watch has not told
 * of one in time, or the counters cannot be read, everything that was kept in memory is to be forgotten; with that what was
 * written is known, or not answered from memory, a second later at most.
 */
export class Hearing implements AsyncDisposable {
  readonly #ports: HearingPorts;
  readonly #closing = new AbortController();
  readonly #listeners: Listeners;
  /** Of keys of the store, rather than of the barrier. */
  readonly #below: Listeners;
  /** Changes of a transaction whose counter was not heard yet. */
  #pending: Change[] = [];
  /** Of the store: everything up to it was heard. */
  #heard: number;
  #restart = new AbortController();
  /** Monotonic; undefined while everything is heard. */
  #deafSinceMs: number | undefined;
  #running: Promise<unknown> = Promise.resolve();

  /** @param revision of the store, from which on changes are heard; nothing may have been read before it. */
  constructor(ports: HearingPorts, listeners: Listeners, revision: number) {
    this.#ports = ports;
    this.#listeners = listeners;
    this.#below = new Listeners(ports);
    this.#heard = revision;
  }

  /** Whether the store has not told for two seconds what others write. */
  get isCutOff(): boolean {
    const { clock } = this.#ports;
    return this.#deafSinceMs !== undefined && clock.monotonicMs() - this.#deafSinceMs >= CUT_OFF_MS;
  }

  /** Call `listener` with each key of the store, rather than of the barrier, under `prefix`. */
  onBelow(prefix: string, listener: (key: string) => void): void {
    this.#below.on(prefix, listener);
  }

  /** Listen until disposed. */
  run(): void {
    this.#running = Promise.all([this.#listen(), this.#checkAgain()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #listen(): Promise<void> {
    const { storage, clock, logger } = this.#ports;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      using restart = new LinkedAbort(signal);
      this.#restart = restart;
      this.#pending = [];
      try {
        for await (const change of storage.watch("", this.#heard + 1, { signal: restart.signal }))
          this.#take(change);
      } catch (reason) {
        const { code, message } = RksError.from(reason);
        if (signal.aborted) return;
        logger.warn("Watching the store was interrupted", { code, reason: message });
        if (code === "CONFLICT") await this.#skip().catch(() => undefined);
        await clock.sleep(RETRY_MS, { signal, background: true }).catch(() => undefined);
      }
    }
  }

  /** What was missed cannot be told any more. */
  async #skip(): Promise<void> {
    this.#heard = await revisionOf(this.#ports.storage);
    this.#listeners.gap();
  }

  #take(change: Change): void {
    const [first] = this.#pending;
    if (first !== undefined && first.revision !== change.revision) this.#tell();
    this.#pending.push(change);
    const writer = writerOfCounter(change.key);
    if (writer === undefined || change.value === undefined) return;
    if (writer === this.#ports.barrier.writer.number) this.#pending = [];
    else {
      this.#ports.barrier.heardCounter(change.key, change.value);
      this.#tell();
    }
    this.#heard = change.revision;
  }

  #tell(): void {
    const changes = this.#pending;
    this.#pending = [];
    for (const { key, revision } of changes) {
      this.#below.tell(key);
      if (key.startsWith(BARRIER_PREFIX)) this.#listeners.tell(key.slice(BARRIER_PREFIX.length));
      this.#heard = Math.max(this.#heard, revision);
    }
  }

  async #checkAgain(): Promise<void> {
    const { clock, logger } = this.#ports;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await clock.sleep(CHECK_MS, { signal, background: true }).catch(() => undefined);
      if (signal.aborted) return;
      const isSure = await this.#check().catch(() => false);
      if (signal.aborted) return;
      // What no counter follows: it was written outside the barrier.
      this.#tell();
      if (!isSure) {
        if (this.#deafSinceMs === undefined)
          logger.warn("What others write to the store is not heard in time");
        this.#deafSinceMs ??= clock.monotonicMs();
        this.#listeners.gap();
        this.#restart.abort();
      } else if (this.#deafSinceMs !== undefined) {
        this.#deafSinceMs = undefined;
        logger.info("What others write to the store is heard again");
        // What could not be read again while the store was away can be now.
        this.#listeners.gap();
      }
    }
  }

  /** Whether everything was heard that was written a moment ago. */
  async #check(): Promise<boolean> {
    const { storage, barrier, clock } = this.#ports;
    const read = storage
      .list(SEQUENCE_PREFIX)
      .then(({ entries }) =>
        entries
          .filter(({ key }) => writerOfCounter(key) !== barrier.writer.number)
          .reduce((newest, { modRevision }) => Math.max(newest, modRevision), 0),
      );
    const newest = await this.#inTime(read);
    if (newest === undefined) return false;
    if (this.#heard >= newest) return true;
    await clock.sleep(GRACE_MS, { signal: this.#closing.signal, background: true }).catch(() => undefined);
    return this.#heard >= newest;
  }

  async #inTime<T>(work: Promise<T>): Promise<T | undefined> {
    using over = new LinkedAbort(this.#closing.signal);
    const late = this.#ports.clock.sleep(GRACE_MS, { signal: over.signal, background: true }).then(
      () => undefined,
      () => undefined,
    );
    return await Promise.race([work, late]);
  }
}
