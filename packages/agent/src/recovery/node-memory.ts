/** What a node knows of itself after a reboot. Public facts: no key, no certificate, no token. */
export interface RememberedNode {
  readonly nodeName: string;
  /** `host:port` of the control plane. */
  readonly rksAddress: string;
  /** SHA-256 of the SubjectPublicKeyInfo of each root that may vouch for the control plane; hexadecimal digits. */
  readonly rootPins: readonly string[];
  /** The same of intermediates below them that do not count; default: none. */
  readonly refusedIssuers?: readonly string[] | undefined;
  /** What the next recovery has to name. */
  readonly sequence: number;
  /** Recoveries that the control plane grants without a key of the machine. */
  readonly grantsLeft: number;
}

/** Keeps what a node must know to come back. `node-file.ts` is the adapter. */
export interface NodeMemory {
  /** @throws {RksError} CONFIG_INVALID when something is there that cannot be read; it is left as it is. */
  load(): Promise<RememberedNode | undefined>;
  /**
   * Replace what is known, as a whole. When this resolves it survives a power failure.
   * @throws {RksError} STORAGE_UNWRITABLE, STORAGE_FULL; then the old state is still there.
   */
  save(node: RememberedNode): Promise<void>;
}
