import { createHmac } from "node:crypto";

/** RFC 9000 §10.3: the last bytes of a Stateless Reset are the token that the handshake told the client. */
const RESET_TOKEN_BYTES = 16;

/** RFC 9000 §10.3: shorter ones can be told from packets of a connection; 5 bytes are the least in front of the token. */
const MIN_RESET_BYTES = 5 + RESET_TOKEN_BYTES;
/** Looks like a packet with a connection id of ours and a small payload. */
const MAX_RESET_BYTES = 43;

/** RFC 9000 §17.3.1: the first bit of a short header is 0, the second 1. */
const SHORT_HEADER = 0b0100_0000;
const UNPREDICTABLE_BITS = 0b0011_1111;

/**
 * Tell clients that a connection is no longer known (RFC 9000 §10.3): they then connect again at once instead of
 * waiting for the idle timeout. The token of a connection is computed from its id and a key, so nothing is kept, and
 * who has the same key after a restart can end the connections of before. Only the client of a connection and the
 * server know its token; who has the key can end any connection, and can do nothing else.
 */
export class StatelessResets {
  readonly #key: Uint8Array;
  readonly #randomBytes: (length: number) => Uint8Array;

  /** @param key 32 random bytes, kept for the life of the object. */
  constructor(key: Uint8Array, ports: { readonly randomBytes: (length: number) => Uint8Array }) {
    this.#key = key;
    this.#randomBytes = ports.randomBytes;
  }

  /** The token of the connection with this id. */
  tokenOf(connectionId: Uint8Array): Uint8Array {
    return createHmac("sha256", this.#key).update(connectionId).digest().subarray(0, RESET_TOKEN_BYTES);
  }

  /**
   * Write the reset for the connection of a packet of `receivedBytes`, and return its length. It is shorter than that
   * packet, so that two servers do not answer each other for ever (§10.3.3), and nobody is flooded by it.
   * @returns 0 for a packet that is too short to be answered.
   */
  write(connectionId: Uint8Array, receivedBytes: number, out: Uint8Array): number {
    const length = Math.min(MAX_RESET_BYTES, receivedBytes - 1);
    if (length < MIN_RESET_BYTES) return 0;
    out.set(this.#randomBytes(length - RESET_TOKEN_BYTES));
    out[0] = (out[0]! & UNPREDICTABLE_BITS) | SHORT_HEADER;
    out.set(this.tokenOf(connectionId), length - RESET_TOKEN_BYTES);
    return length;
  }
}

/** The token as the native configuration takes it. */
export function nativeResetToken(token: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(token).toString("hex")}`);
}
