import { type Clock, RksError } from "@rk8s/protocol";
import { TokenBucket } from "./token-bucket.js";

/**
 * Requests with an unknown token id a second: nobody honest makes them in numbers, and each costs a dummy
 * verification.
 */
const UNKNOWN = { capacity: 500, perSecond: 250 };
/** Bad proofs for known ids a second, all ids together; 160 µs each, so at most a sixth of a core. */
const FAILED = { capacity: 2000, perSecond: 1000 };
/**
 * Refusals with a good proof, per token: each is an audit record. Hundreds may come at once when a fleet shares
 * a used token.
 */
const REFUSED = { capacity: 500, perSecond: 5 };
/** Tokens whose refusals are counted; the one counted longest makes room. */
const MAX_TOKENS = 4096;
/** Requests that are being worked on, whose proof is good or not yet looked at. */
const MAX_CONCURRENT = 1024;

/**
 * What work for strangers may cost. Bad proofs never count against a token or a key, only against the budget of
 * bad proofs; good ones cost nothing until they are refused. Unknown and known ids have separate budgets, so
 * that whoever does not hold a token can at most stop those who do not either.
 */
export class ProofBudget {
  readonly #clock: Clock;
  readonly #unknown: TokenBucket;
  readonly #failed: TokenBucket;
  readonly #refused = new Map<string, TokenBucket>();
  #concurrent = 0;

  constructor(ports: { readonly clock: Clock }) {
    this.#clock = ports.clock;
    this.#unknown = new TokenBucket(UNKNOWN, ports);
    this.#failed = new TokenBucket(FAILED, ports);
  }

  /** Do one request's work. @throws {RksError} BUSY when too many are being worked on. */
  async admit<T>(work: () => Promise<T>): Promise<T> {
    if (this.#concurrent >= MAX_CONCURRENT) throw busy();
    this.#concurrent += 1;
    try {
      return await work();
    } finally {
      this.#concurrent -= 1;
    }
  }

  /**
   * Verify a proof at the budget's cost; a good one costs nothing.
   * @throws {RksError} BUSY when the budget is spent.
   */
  verify(kind: "known" | "unknown", verification: () => boolean): boolean {
    const bucket = kind === "known" ? this.#failed : this.#unknown;
    if (!bucket.take()) throw busy();
    const good = verification();
    if (good) bucket.giveBack();
    return good;
  }

  /**
   * Whether one more refusal for the holder of this token may be looked into and recorded.
   * @throws {RksError} BUSY.
   */
  chargeRefusal(tokenId: string): void {
    const bucket = this.#refused.get(tokenId) ?? new TokenBucket(REFUSED, { clock: this.#clock });
    this.#refused.delete(tokenId);
    this.#refused.set(tokenId, bucket);
    const [oldest] = this.#refused.keys();
    if (this.#refused.size > MAX_TOKENS && oldest !== undefined) this.#refused.delete(oldest);
    if (!bucket.take()) throw busy();
  }
}

function busy(): RksError {
  return new RksError("BUSY", "the control plane has too many requests to join at this moment", {
    suggestion: "Try again in a few seconds.",
  });
}
