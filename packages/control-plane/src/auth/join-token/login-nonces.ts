import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

import { type Clock, RksError } from "@rk8s/protocol";

/** Long enough for a person with curl and openssl. */
export const NONCE_SECONDS = 60;
/** Logins with a good proof that are remembered, so that none of them counts twice. */
const MAX_USED = 10_000;
const TIME_BYTES = 6;
const RANDOM_BYTES = 16;
const HEAD_BYTES = TIME_BYTES + RANDOM_BYTES;
const NONCE = /^[\w-]{72}$/;

/**
 * Makes nonces without remembering them, and takes each once. A nonce is its time and a random part under an HMAC that
 * covers the token as well; the key lives as long as this object, time is one that never runs backwards.
 */
export class LoginNonces {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #key = randomBytes(32);
  /** By when each used one is over, in the order of use. */
  readonly #used = new Map<string, number>();

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  create(tokenId: string): string {
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUIntBE(Math.floor(this.#clock.monotonicMs()), 0, TIME_BYTES);
    randomBytes(RANDOM_BYTES).copy(head, TIME_BYTES);
    return Buffer.concat([head, this.#mac(head, tokenId)]).toString("base64url");
  }

  /** Check that the nonce was made here for the token, not long ago. @throws {RksError} NONCE_EXPIRED */
  assertFresh(nonce: string, tokenId: string): void {
    const bytes = NONCE.test(nonce) ? Buffer.from(nonce, "base64url") : Buffer.alloc(0);
    const head = bytes.subarray(0, HEAD_BYTES);
    const mac = bytes.subarray(HEAD_BYTES);
    const expected = this.#mac(head, tokenId);
    const isOwn = mac.byteLength === expected.byteLength && timingSafeEqual(mac, expected);
    if (!isOwn || this.#endOf(head) <= this.#clock.monotonicMs()) throw nonceExpired();
  }

  /**
   * Take a fresh nonce, for a proof that was verified.
   * @throws {RksError} NONCE_EXPIRED when it was taken before, BUSY when too many were taken in its time.
   */
  take(nonce: string): void {
    const now = this.#clock.monotonicMs();
    for (const [used, end] of this.#used) {
      if (end <= now) this.#used.delete(used);
    }
    if (this.#used.has(nonce)) throw nonceExpired();
    if (this.#used.size >= MAX_USED) {
      throw new RksError("BUSY", `${MAX_USED} logins were made in the last minute`, {
        suggestion: "Try again in a minute.",
      });
    }
    this.#used.set(nonce, this.#endOf(Buffer.from(nonce, "base64url")));
  }

  #endOf(head: Buffer): number {
    return head.readUIntBE(0, TIME_BYTES) + NONCE_SECONDS * 1000;
  }

  #mac(head: Uint8Array, tokenId: string): Buffer {
    return createHmac("sha256", this.#key).update(head).update(tokenId).digest();
  }
}

function nonceExpired(): RksError {
  return new RksError("NONCE_EXPIRED", "the nonce was used, is too old or is not for this token", {
    suggestion: "Ask for a new challenge and sign that.",
  });
}
