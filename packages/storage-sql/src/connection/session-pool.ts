import { RksError } from "@rk8s/protocol";
import type { Clock } from "@rk8s/protocol";
import { busy, storageClosed } from "@rk8s/storage";

import type { Session } from "./session.js";

export interface SessionPoolInit {
  readonly maxSessions: number;
  /** How long a caller waits for a session that others have. */
  readonly waitMs: number;
}

export interface SessionPoolPorts {
  readonly clock: Clock;
  open(): Promise<Session>;
}

/** Callers that may wait for a session; each of them holds a request in memory. */
const MAX_WAITING = 8192;

/** Gets the session, or undefined when there may now be room for a new one. */
type Waiter = (session: Session | undefined) => void;

/**
 * A few sessions for many callers, first come first served. Sessions are opened when they are needed and kept; one that ended
 * is replaced.
 */
export class SessionPool {
  readonly #init: SessionPoolInit;
  readonly #ports: SessionPoolPorts;
  #idle: Session[] = [];
  /** Sessions that are idle, lent or being opened. */
  #count = 0;
  readonly #waiting = new Set<Waiter>();
  #isClosed = false;

  constructor(init: SessionPoolInit, ports: SessionPoolPorts) {
    this.#init = init;
    this.#ports = ports;
  }

  /**
   * Lend a session until `release`.
   * @throws {RksError} BUSY when too many wait already, TIMED_OUT when none came free, UNAVAILABLE after `close`, or
   * what opening a session throws.
   */
  async acquire(): Promise<Session> {
    for (;;) {
      if (this.#isClosed) throw storageClosed();
      const session = this.#takeIdle();
      if (session !== undefined) return session;
      if (this.#count < this.#init.maxSessions) return this.#open();
      const next = await this.#wait();
      if (next?.isOpen === true) return next;
      if (next !== undefined) this.#forget();
    }
  }

  /** Give a session back; one that ended makes room for another. */
  release(session: Session): void {
    if (this.#isClosed || !session.isOpen) {
      session.close();
      this.#forget();
    } else if (!this.#handOver(session)) {
      this.#idle.push(session);
    }
  }

  /** End the idle sessions now and the lent ones as they come back; later callers are refused. */
  close(): void {
    this.#isClosed = true;
    for (const session of this.#idle) session.close();
    this.#count -= this.#idle.length;
    this.#idle = [];
    while (this.#handOver(undefined));
  }

  #takeIdle(): Session | undefined {
    for (let session = this.#idle.pop(); session !== undefined; session = this.#idle.pop()) {
      if (session.isOpen) return session;
      this.#count -= 1;
    }
    return undefined;
  }

  async #open(): Promise<Session> {
    this.#count += 1;
    try {
      return await this.#ports.open();
    } catch (reason) {
      this.#forget();
      throw reason;
    }
  }

  /** There is room for one session more. */
  #forget(): void {
    this.#count -= 1;
    this.#handOver(undefined);
  }

  #handOver(session: Session | undefined): boolean {
    for (const waiter of this.#waiting) {
      this.#waiting.delete(waiter);
      waiter(session);
      return true;
    }
    return false;
  }

  #wait(): Promise<Session | undefined> {
    if (this.#waiting.size >= MAX_WAITING) throw busy("too many requests already wait for the database");
    const { clock } = this.#ports;
    const served = new AbortController();
    return new Promise((resolve, reject) => {
      const waiter: Waiter = (session) => {
        served.abort();
        resolve(session);
      };
      this.#waiting.add(waiter);
      const giveUp = (): void => {
        if (this.#waiting.delete(waiter)) reject(crowded());
      };
      clock.sleep(this.#init.waitMs, { signal: served.signal }).then(giveUp, () => undefined);
    });
  }
}

function crowded(): RksError {
  return new RksError("TIMED_OUT", "no session with the database came free in time", {
    suggestion: "Look at the load of the database server, then try again.",
  });
}
