import type { Commit } from "../../vault/backend.js";

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
   * What takes one use of the token for `user`, for a transaction: a node's token loses one, an operator's is good until
   * it expires. The transaction fails when the token was changed meanwhile.
   * @throws {RksError} JOIN_TOKEN_REVOKED, JOIN_TOKEN_EXPIRED, JOIN_TOKEN_USED, JOIN_TOKEN_INVALID.
   */
  use(id: string, user: string): Promise<Commit>;
  find(id: string): Promise<JoinTokenFacts | undefined>;
}
