/** What a join token allows, as far as a login is concerned. */
export interface JoinTokenFacts {
  /** 16 hexadecimal digits. */
  readonly id: string;
  readonly role: "node" | "operator";
  /** The only node name that it is good for. */
  readonly node: string | null;
  /** The only network that it is good from. */
  readonly cidr: string | null;
  /** Whether it was revoked. */
  readonly isRevoked: boolean;
  readonly expiresAtMs: number;
}

/** The cluster's join tokens, whose keys stay with whoever keeps them. */
export interface JoinTokenKeys {
  /**
   * Whether the signature over the bytes is the token's. Undefined for a token that is unknown and for a signature by
   * somebody else alike, after the same work.
   */
  verify(id: string, bytes: Uint8Array, signature: Uint8Array): Promise<JoinTokenFacts | undefined>;
  /**
   * Let the token be used by `user` now. A node's token loses a use, in one transaction with the check that it has one; an
   * operator's is good until it expires.
   * @throws {RksError} JOIN_TOKEN_REVOKED, JOIN_TOKEN_EXPIRED, JOIN_TOKEN_USED, CONFLICT.
   */
  claim(id: string, user: string): Promise<void>;
  find(id: string): Promise<JoinTokenFacts | undefined>;
}
