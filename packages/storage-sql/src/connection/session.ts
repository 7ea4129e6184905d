import { withDeadline } from "@rk8s/protocol";
import type { Clock } from "@rk8s/protocol";
import type { Socket } from "node:net";

import { isAnswer, sqlError } from "../sql-error.js";
import { serverName } from "../sql-target.js";
import type { SqlTarget } from "../sql-target.js";

/** One session with a database server; it answers one statement at a time. */
export interface Session {
  /** False once it has ended, whoever ended it. */
  readonly isOpen: boolean;
  /**
   * The rows of one statement, none for one that only writes. When the server does not answer in time, or answers that it ends
   * the session, the session is over.
   * @throws {RksError} the server's refusal, or UNREACHABLE, CONNECTION_LOST or TIMED_OUT
   */
  query(text: string, parameters?: readonly unknown[]): Promise<readonly unknown[]>;
  /** Say good-bye and end. Never throws. */
  close(): void;
  /** End at once, so that the server undoes what was begun. Never throws. */
  abort(): void;
}

export interface SessionOptions {
  readonly clock: Clock;
  /** How long one statement may take, also by the server's own watch. */
  readonly statementMs: number;
  /** PostgreSQL only: called with the payload of each notification. */
  readonly onNotification?: ((payload: string) => void) | undefined;
}

/** How long opening a session may take, TLS and login included. */
export const CONNECT_MS = 2000;
/** A client that falls silent inside a transaction holds the lock that every writer needs; then the server ends it. */
export const IDLE_IN_TRANSACTION_MS = 3000;

/** What the two drivers have in common. */
export interface Driven {
  /** Ours, not the driver's: the driver only ever closes it politely. */
  readonly socket: Socket;
  run(text: string, parameters: readonly unknown[]): Promise<readonly unknown[]>;
  /** Ask the server to end the session. */
  end(): void;
}

/** A session from what a driver does: deadlines, coded errors, and an end that does not wait. */
export class DrivenSession implements Session {
  readonly #driven: Driven;
  readonly #server: string;
  readonly #options: SessionOptions;
  #isOpen = true;

  constructor(target: SqlTarget, driven: Driven, options: SessionOptions) {
    this.#driven = driven;
    this.#server = serverName(target);
    this.#options = options;
    driven.socket.once("close", () => {
      this.#isOpen = false;
    });
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  async query(text: string, parameters: readonly unknown[] = []): Promise<readonly unknown[]> {
    const { clock, statementMs: timeoutMs } = this.#options;
    try {
      return await withDeadline(() => this.#driven.run(text, parameters), {
        clock,
        timeoutMs,
        attempt: `${this.#server} did not answer a statement`,
        suggestion: "Look at the load of the database server, then try again.",
      });
    } catch (reason) {
      if (!isAnswer(reason)) this.abort();
      throw sqlError(this.#server, reason);
    }
  }

  close(): void {
    this.#isOpen = false;
    // A server that does not answer must not keep this process alive.
    this.#driven.socket.unref();
    this.#driven.end();
  }

  abort(): void {
    this.#isOpen = false;
    this.#driven.socket.destroy();
  }
}
