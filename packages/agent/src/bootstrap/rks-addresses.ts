import { type ConnectionLimits, type ErrorCode, RksError, type SocketAddress } from "@rk8s/protocol";
import type { AgentPorts } from "../ports.js";
import { formatAddress, parseRksAddress } from "./address.js";
import { backoffMs, searchPolicy } from "./backoff.js";

/** More control planes than a cluster has. */
const MAX_ADDRESSES = 16;
/**
 * With somewhere else to go, a control plane that says nothing for so long is left: together with a pause and a handshake that
 * is less than five seconds.
 */
const IDLE_TIMEOUT_MS = 2_500;
const ANSWER_TIMEOUT_MS = 3_500;

/** How long to wait for a control plane; undefined where the usual is right. */
export interface Patience {
  readonly idleTimeoutMs: number | undefined;
  readonly answerTimeoutMs: number | undefined;
}

/** An address, and what its failures are paid with. */
interface Place {
  readonly address: SocketAddress;
  /** In a row. */
  failures: number;
  /** It is left alone until then, by the monotonic clock. */
  dueMs: number;
}

/**
 * Where the control planes of a cluster are reached, in an order of this agent's own, so that a fleet spreads over them. The
 * one that was good last stays the first choice until nothing good comes from it. A pause is charged to the address that
 * failed: it keeps nobody from turning to another one.
 */
export class RksAddresses {
  readonly #order: readonly Place[];
  #at = 0;

  private constructor(order: readonly SocketAddress[]) {
    this.#order = order.map((address) => ({ address, failures: 0, dueMs: -Infinity }));
  }

  /**
   * Read addresses, separated by commas, each as `parseRksAddress` reads it.
   * @throws {RksError} USAGE_INVALID naming the one that is none, and for too many.
   */
  static parse(text: string, random: () => number = Math.random): RksAddresses {
    const texts = text.split(",");
    if (texts.length > MAX_ADDRESSES) {
      throw new RksError("USAGE_INVALID", `${texts.length} addresses of control planes were given`, {
        suggestion: `Give at most ${MAX_ADDRESSES}, separated by commas.`,
      });
    }
    const all = new Map(texts.map(parseRksAddress).map((address) => [formatAddress(address), address]));
    const drawn = [...all.values()].map((address) => ({ address, place: random() }));
    return new RksAddresses(drawn.toSorted((a, b) => a.place - b.place).map(({ address }) => address));
  }

  /** Where to turn now. */
  get current(): SocketAddress {
    return this.#here.address;
  }

  /** How many there are, each counted once. */
  get count(): number {
    return this.#order.length;
  }

  /** Whether there is somewhere else to go. */
  get isSeveral(): boolean {
    return this.count > 1;
  }

  /** Who can go elsewhere waits for less. */
  get patience(): Patience {
    if (!this.isSeveral) return { idleTimeoutMs: undefined, answerTimeoutMs: undefined };
    return { idleTimeoutMs: IDLE_TIMEOUT_MS, answerTimeoutMs: ANSWER_TIMEOUT_MS };
  }

  /** The same for fetching a certificate chain, which has no answer but the handshake. */
  get probing(): { readonly limits?: ConnectionLimits } {
    return this.isSeveral ? { limits: { handshakeTimeoutMs: ANSWER_TIMEOUT_MS } } : {};
  }

  /** Work with the one to turn to now. What may be tried again is tried with the next one: it is turned to when the work fails so. */
  async use<T>(work: (address: SocketAddress) => Promise<T>): Promise<T> {
    const address = this.current;
    try {
      return await work(address);
    } catch (reason) {
      if (RksError.from(reason).retryable) this.passOver(address);
      throw reason;
    }
  }

  /** Nothing good came from there: turn to the next one, unless that has happened already. */
  passOver(address: SocketAddress): void {
    if (address === this.current) this.#at = (this.#at + 1) % this.#order.length;
  }

  /**
   * A node was served from there. What the others failed with before says nothing of them any more; nor do failures of this one
   * when it was good for long.
   */
  served(address: SocketAddress, { isStable }: { readonly isStable: boolean }): void {
    for (const place of this.#order) {
      if (place.address === address && !isStable) continue;
      place.failures = 0;
      place.dueMs = -Infinity;
    }
  }

  /**
   * Leave an address alone for the pause after one more failure in a row, by what it failed with, and turn to the one that may be
   * tried first, of several the next in turn. Returns how many milliseconds that one is to be left alone still.
   */
  charge(
    address: SocketAddress,
    code: ErrorCode,
    { clock, random }: Pick<AgentPorts, "clock" | "random">,
  ): number {
    const nowMs = clock.monotonicMs();
    const failed = this.#order.findIndex((place) => place.address === address);
    const { failures } = this.#order[failed]!;
    const dueMs = nowMs + backoffMs(failures, random, searchPolicy(code, this));
    Object.assign(this.#order[failed]!, { failures: failures + 1, dueMs });
    const inTurn = [...this.#order.slice(failed + 1), ...this.#order.slice(0, failed + 1)];
    const [first] = inTurn.toSorted((a, b) => Math.max(nowMs, a.dueMs) - Math.max(nowMs, b.dueMs));
    this.#at = this.#order.indexOf(first!);
    return Math.max(0, first!.dueMs - nowMs);
  }

  get #here(): Place {
    return this.#order[this.#at]!;
  }
}
