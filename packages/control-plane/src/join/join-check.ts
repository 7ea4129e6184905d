import type { SocketAddress } from "@rk8s/protocol";
import type { JoinTokenRecord } from "./join-token-record.js";

/** What a check gets to see of the token; all of it may be shown. */
export type JoinCheckToken = Readonly<
  Pick<JoinTokenRecord, "id" | "role" | "node" | "cidr" | "uses" | "usedCount" | "createdAt" | "expiresAt">
>;

/** What a check gets to see of a request to join; the proof was verified before. */
export interface JoinCheckRequest {
  readonly role: "node" | "operator";
  /** The name that the node is going to have; empty for an operator. */
  readonly nodeName: string;
  readonly remoteAddress: SocketAddress;
  readonly token: JoinCheckToken;
  /** DER; what it asks for has no effect on the certificate. */
  readonly csr: Uint8Array;
}

/**
 * One more condition that whoever joins must meet: an address, a machine id, somebody's approval. Checks run
 * one after the other, after the token's own rules and before anything is written, each with a deadline; a
 * refusal consumes nothing.
 */
export interface JoinCheck {
  /** What messages, audit and log call it. */
  readonly name: string;
  /**
   * @throws {RksError} when the request is refused; a code that is not retryable is final for whoever asks. Any other
   * error means that the check itself failed: the request is refused for now (UNAVAILABLE).
   */
  check(request: JoinCheckRequest, options: { readonly signal: AbortSignal }): void | Promise<void>;
}
