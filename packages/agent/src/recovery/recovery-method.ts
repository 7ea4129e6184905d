/** Ways by which a machine can prove after a reboot that it is the one of before. */
export type RecoveryKind = "tpm" | "ssh-host-key";

export interface RecoveryCallOptions {
  readonly signal?: AbortSignal | undefined;
}

/**
 * A key that the machine keeps and this process never sees: it is asked to sign. Each method is one such key; the
 * control plane is told its public half while the node is in service, and believes its signature after a reboot.
 */
export interface RecoveryMethod {
  readonly kind: RecoveryKind;
  /** Why this method cannot be used on this host now, for people; undefined when it can. Never rejects. */
  problem(options?: RecoveryCallOptions): Promise<string | undefined>;
  /**
   * The public key in the form that SPEC.md §20 gives its kind; the same bytes every time.
   * @throws {RksError} UNSUPPORTED when the key cannot be used.
   */
  publicKey(options?: RecoveryCallOptions): Promise<Uint8Array>;
  /**
   * The key's signature over a transcript, in the form that SPEC.md §20 gives its kind.
   * @throws {RksError} UNSUPPORTED when the key cannot be used.
   */
  prove(transcript: Uint8Array, options?: RecoveryCallOptions): Promise<Uint8Array>;
}
