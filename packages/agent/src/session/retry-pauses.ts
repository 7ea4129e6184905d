import type { ErrorCode, RksError, SocketAddress } from "@rk8s/protocol";
import { backoffMs, DEFAULT_BACKOFF, type BackoffPolicy } from "../bootstrap/backoff.js";
import type { RksAddresses } from "../bootstrap/rks-addresses.js";
import type { AgentPorts } from "../ports.js";

/** A session that lasted this long was a good one: the next pause is a short one again. */
const STABLE_MS = 10_000;
/**
 * A control plane that does not answer is looked for every two seconds on average, so that it has its nodes back within
 * five of its return; five hundred of them are then some 170 handshakes a second (ADR 0025). Whoever answers, but
 * cannot serve, is left alone for longer.
 */
const SEARCH_BACKOFF: BackoffPolicy = { ...DEFAULT_BACKOFF, capMs: 3000 };
/**
 * On the way from one control plane to another. It grows with sessions in a row that were short, so that control planes which all
 * take nodes and lose them are not stormed. With a silence of up to 3.3 s before and a handshake after it, it
 * is less than five seconds.
 */
const MOVE_BACKOFF: BackoffPolicy = { floorMs: 50, baseMs: 300, capMs: 1000 };
/** Of what is left of the certificate, how much a pause may take. */
const PAUSE_SHARE = 1 / 8;
const MIN_PAUSE_MS = 100;
const NO_ANSWER: ReadonlySet<ErrorCode> = new Set(["CONNECTION_LOST", "TIMED_OUT", "UNREACHABLE"]);
/** After these, one of several control planes is looked for like one that is away. */
const NOT_NOW: ReadonlySet<ErrorCode> = new Set([...NO_ANSWER, "UNAVAILABLE", "VAULT_SEALED"]);

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
  /** In a row. */
  #shortSessions = 0;

  constructor(addresses: RksAddresses, ports: Pick<AgentPorts, "clock" | "random">) {
    this.#addresses = addresses;
    this.#ports = ports;
  }

  /** Count the failure, choose where to turn to, and tell the pause before that. */
  after(failed: FailedAttempt): { readonly retries: number; readonly delayMs: number } {
    const { error, address, readyMs, leftMs } = failed;
    const { clock, random } = this.#ports;
    const nowMs = clock.monotonicMs();
    let moveMs = backoffMs(0, random, MOVE_BACKOFF);
    if (readyMs !== undefined) {
      const isStable = readyMs >= STABLE_MS;
      if (isStable) this.retries = this.#shortSessions = 0;
      this.#addresses.served(address, { isStable });
      moveMs = backoffMs(this.#shortSessions, random, MOVE_BACKOFF);
      if (!isStable) this.#shortSessions++;
    }
    const dueMs = this.#addresses.charge(address, { policy: this.#policyFor(error), random, nowMs });
    if (this.#addresses.current === address) moveMs = 0;
    // Pauses leave time for several more tries before the certificate ends.
    const longestMs = Math.max(MIN_PAUSE_MS, leftMs * PAUSE_SHARE);
    this.retries++;
    return { retries: this.retries, delayMs: Math.round(Math.min(Math.max(dueMs, moveMs), longestMs)) };
  }

  #policyFor({ code }: RksError): BackoffPolicy {
    return (this.#addresses.isSeveral ? NOT_NOW : NO_ANSWER).has(code) ? SEARCH_BACKOFF : DEFAULT_BACKOFF;
  }
}
