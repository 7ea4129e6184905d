import type { RksError, SocketAddress } from "@rk8s/protocol";
import { backoffMs, MOVE_BACKOFF } from "../bootstrap/backoff.js";
import type { RksAddresses } from "../bootstrap/rks-addresses.js";
import type { AgentPorts } from "../ports.js";

/** A session that lasted this long was a good one: the next pause is a short one again. */
const STABLE_MS = 10_000;
/** Of what is left of the certificate, how much a pause may take. */
const PAUSE_SHARE = 1 / 8;
const MIN_PAUSE_MS = 100;

/** How an attempt to be served ended. */
interface FailedAttempt {
  readonly error: RksError;
  readonly address: SocketAddress;
  /** How long the node was registered; undefined when it was not. */
  readonly readyMs: number | undefined;
  /** Of the certificate. */
  readonly leftMs: number;
}

/**
 * How long a node that lost its session waits before it tries again, and where. A failure is paid for by the address that failed;
 * of several, another one is turned to after a moment.
 */
export class RetryPauses {
  /** Since the last session that lasted. */
  retries = 0;
  readonly #addresses: RksAddresses;
  readonly #ports: Pick<AgentPorts, "clock" | "random">;
  /** In a row. The way to another control plane grows with them, so that those which all take nodes and lose them are not stormed. */
  #shortSessions = 0;

  constructor(addresses: RksAddresses, ports: Pick<AgentPorts, "clock" | "random">) {
    this.#addresses = addresses;
    this.#ports = ports;
  }

  /** Count the failure, choose where to turn to, and tell the pause before that. */
  after(failed: FailedAttempt): { readonly retries: number; readonly delayMs: number } {
    const { error, address, readyMs, leftMs } = failed;
    const { random } = this.#ports;
    let moveMs = backoffMs(0, random, MOVE_BACKOFF);
    if (readyMs !== undefined) {
      const isStable = readyMs >= STABLE_MS;
      if (isStable) this.retries = this.#shortSessions = 0;
      this.#addresses.served(address, { isStable });
      moveMs = backoffMs(this.#shortSessions, random, MOVE_BACKOFF);
      if (!isStable) this.#shortSessions++;
    }
    const dueMs = this.#addresses.charge(address, error.code, this.#ports);
    if (this.#addresses.current === address) moveMs = 0;
    // Pauses leave time for several more tries before the certificate ends.
    const longestMs = Math.max(MIN_PAUSE_MS, leftMs * PAUSE_SHARE);
    this.retries++;
    return { retries: this.retries, delayMs: Math.round(Math.min(Math.max(dueMs, moveMs), longestMs)) };
  }
}
