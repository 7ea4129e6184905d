import { createHmac, timingSafeEqual } from "node:crypto";
import type { Clock, SocketAddress } from "@rk8s/protocol";

const MAC_BYTES = 32;
const TIME_BYTES = 8;
/** RFC 9000 §7.2: a client's first destination connection id is 8 to 20 bytes long. */
const MIN_DCID_BYTES = 8;
const MAX_DCID_BYTES = 20;

/** How long a client may take to come back with its Retry token; a Retry is answered within one round trip. */
const RETRY_TOKEN_LIFETIME_MS = 10_000;

/**
 * Make and check the tokens of Retry packets (RFC 9000 §8.1.2), by which a client proves that it receives what
 * is sent to its address before anything is kept or computed for it. A token is bound to the address and port,
 * to the connection id that the Retry packet gave out and to a time; it holds the client's first destination
 * connection id, which the handshake needs again (§7.3). Tokens are worth nothing after a restart.
 */
export class AddressTokens {
  readonly #key: Uint8Array;
  readonly #clock: Clock;

  /** @param key 32 random bytes, kept for the life of the object. */
  constructor(key: Uint8Array, ports: { readonly clock: Clock }) {
    this.#key = key;
    this.#clock = ports.clock;
  }

  issue(from: SocketAddress, newScid: Uint8Array, originalDcid: Uint8Array): Uint8Array {
    const time = Buffer.alloc(TIME_BYTES);
    time.writeDoubleBE(this.#clock.monotonicMs());
    return Buffer.concat([this.#mac(from, newScid, time, originalDcid), time, originalDcid]);
  }

  /** @returns the original destination connection id, or undefined for a token that is not good here and now. */
  check(from: SocketAddress, newScid: Uint8Array, token: Uint8Array): Uint8Array | undefined {
    const originalDcid = token.subarray(MAC_BYTES + TIME_BYTES);
    if (originalDcid.length < MIN_DCID_BYTES || originalDcid.length > MAX_DCID_BYTES) return undefined;
    const time = Buffer.from(token.subarray(MAC_BYTES, MAC_BYTES + TIME_BYTES));
    const mac = this.#mac(from, newScid, time, originalDcid);
    if (!timingSafeEqual(mac, token.subarray(0, MAC_BYTES))) return undefined;
    const age = this.#clock.monotonicMs() - time.readDoubleBE();
    return age <= RETRY_TOKEN_LIFETIME_MS ? originalDcid : undefined;
  }

  #mac(from: SocketAddress, newScid: Uint8Array, time: Uint8Array, originalDcid: Uint8Array): Uint8Array {
    return createHmac("sha256", this.#key)
      .update(`${from.host}\0${from.port}\0`)
      .update(Uint8Array.of(newScid.length))
      .update(newScid)
      .update(time)
      .update(originalDcid)
      .digest();
  }
}
