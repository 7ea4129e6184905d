import type { TrustedRoots } from "./trusted-roots.js";

/** A private key that must outlive the process, with what has been done with it so far. */
export interface StashedKey {
  /** The private key, PKCS#8 in DER. A secret: whoever gets it overwrites it after use. */
  readonly pkcs8: Uint8Array;
  /** The certification request (DER) that is, or was, sent for this key. The same bytes again get the same answer. */
  readonly csr: Uint8Array;
  /** The control plane's answer: the body of its `Certificate` message. Undefined while none has come. */
  readonly answer?: Uint8Array | undefined;
}

/** All that a new process needs to go on as the same node. Bytes and public facts; no secret is ever text. */
export interface StashedIdentity {
  /** Random; the same as long as the stash lives, whatever process uses it (`RegisterNode.instanceId`). */
  readonly instanceId: string;
  /** `host:port` of the control plane, as it was given. */
  readonly rksAddress: string;
  /** The node's name: as asked for until the control plane has given one; undefined when none was asked for. */
  readonly nodeName?: string | undefined;
  /** The roots to trust and their generation; empty before the join has verified any. */
  readonly trust: TrustedRoots;
  /** The join token, ASCII, while the join is under way. A secret, like the keys; left out once there is a certificate. */
  readonly joinToken?: Uint8Array | undefined;
  /** The key whose certificate the node uses. Undefined before the join is done. */
  readonly current?: StashedKey | undefined;
  /** The key of the join or of the renewal that is under way. Becomes `current` with its certificate's first use. */
  readonly pending?: StashedKey | undefined;
}

/**
 * Where a node's identity outlives its process, but never reaches a disk: in memory that somebody else holds, a
 * supervisor's pipes for example. It holds one state; each `save` replaces it as a whole. At every moment a crash
 * leaves either the old state or the new one.
 *
 * Order of saving: a pending key before its request leaves, its answer before the certificate is first used.
 * One process uses a stash at a time, and its calls follow one another.
 */
export interface IdentityStash {
  /**
   * What was saved last, undefined when there is nothing that can be read. Each call gives fresh bytes, which the
   * caller overwrites after use (`wipeStashed`).
   */
  load(): Promise<StashedIdentity | undefined>;
  /**
   * Replace the state. When this resolves the new state outlives this process. The bytes stay the caller's.
   * @throws {RksError} MESSAGE_TOO_LARGE, UNAVAILABLE when the state cannot be kept; then nothing is kept, and the
   * caller goes on without: a node that works is worth more than one that could survive a crash.
   */
  save(state: StashedIdentity): Promise<void>;
  /** Forget everything: the control plane has refused this identity for good. */
  clear(): Promise<void>;
}

/** Overwrite the secrets of a state: its keys and its token. */
export function wipeStashed(state: StashedIdentity): void {
  state.joinToken?.fill(0);
  state.current?.pkcs8.fill(0);
  state.pending?.pkcs8.fill(0);
}
