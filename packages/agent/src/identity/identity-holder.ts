import { createCertificateRequest } from "./csr.js";
import type { Identity } from "./identity.js";
import type { IdentityKeeper } from "./identity-keeper.js";
import { KeyPair } from "./key-pair.js";
import { newerRoots, type TrustedRoots } from "./trusted-roots.js";

/** A request for a node's next certificate. The same request again gets the same answer. */
export interface RenewalRequest {
  readonly keyPair: KeyPair;
  /** DER (RFC 2986). */
  readonly csr: Uint8Array;
}

/** Where a holder keeps what must outlive the process. */
type Keeper = Pick<IdentityKeeper, "instanceId" | "keep">;

interface IdentityHolderOptions {
  readonly keeper: Keeper;
  /**
   * Called with what to trust when it may have changed. When it resolves they must outlive the host; what it
   * rejects with keeps the change from being acknowledged.
   */
  readonly onRoots?: ((trust: TrustedRoots) => Promise<void>) | undefined;
}

/**
 * Who a node is while its certificates come and go: the identity in use, and what a renewal has come to, a request
 * without an answer or the next identity that was not used yet. Each step is kept before it has an effect outside: a
 * new key before its request leaves, a certificate before its first use. One renewal moves it at a time.
 */
export class IdentityHolder implements Disposable {
  readonly #keeper: Keeper;
  readonly #onRoots: IdentityHolderOptions["onRoots"];
  #trust: TrustedRoots;
  #current: Identity;
  #next: Identity | undefined;
  #request: RenewalRequest | undefined;

  /** The holder owns the identity from now on. */
  constructor(current: Identity, options: IdentityHolderOptions) {
    this.#current = current;
    this.#trust = rootsOf(current);
    this.#keeper = options.keeper;
    this.#onRoots = options.onRoots;
  }

  /** Random; the same for every process that goes on with this identity. */
  get instanceId(): string {
    return this.#keeper.instanceId;
  }

  /** The identity whose certificate the control plane has seen last. */
  get current(): Identity {
    return this.#current;
  }

  /** What was issued and not used yet. */
  get next(): Identity | undefined {
    return this.#next;
  }

  /**
   * What to connect with. The control plane takes the next certificate as well as the current one, and only the next
   * one once it has seen it, which this side may have missed.
   */
  get newest(): Identity {
    return this.#next ?? this.#current;
  }

  /** The roots to trust now: those of the newest certificate, or newer ones. */
  get trust(): TrustedRoots {
    return this.#trust;
  }

  /**
   * Trust these roots from now on, if they are newer. Kept when this resolves; true when something changed.
   * @throws what `onRoots` does: they are trusted, and not to be acknowledged yet.
   */
  async learnRoots(heard: TrustedRoots): Promise<boolean> {
    const before = this.#trust;
    this.#trust = newerRoots(before, heard);
    const isNew = this.#trust !== before;
    if (isNew) await this.#keep();
    // Also when they are known: the time before, this may have failed.
    await this.#onRoots?.(this.#trust);
    return isNew;
  }

  /** The request of the renewal under way; with a new key when none is. Kept when this resolves. */
  async request(): Promise<RenewalRequest> {
    if (this.#request !== undefined) return this.#request;
    const keyPair = KeyPair.create();
    try {
      const csr = createCertificateRequest(keyPair, { commonName: this.#current.nodeName });
      this.#request = { keyPair, csr };
    } catch (error) {
      keyPair[Symbol.dispose]();
      throw error;
    }
    await this.#keep();
    return this.#request;
  }

  /**
   * The request was answered by this identity, which owns the request's key now, and newer roots may have come with it.
   * Kept when this resolves.
   * @throws what `onRoots` does: the identity is kept, and can be used.
   */
  async issued(next: Identity): Promise<void> {
    this.#request = undefined;
    this.#next?.[Symbol.dispose]();
    this.#next = next;
    const before = this.#trust;
    this.#trust = newerRoots(before, rootsOf(next));
    await this.#keep();
    if (this.#trust !== before) await this.#onRoots?.(this.#trust);
  }

  /**
   * The control plane has accepted the next certificate on a connection: it is the current one, and the key before it
   * is overwritten at once. Nothing to do when it is already.
   */
  async promote(): Promise<void> {
    const next = this.#next;
    if (next === undefined) return;
    this.#current[Symbol.dispose]();
    this.#current = next;
    this.#next = undefined;
    await this.#keep();
  }

  /** Give up what the renewal under way has come to; the next one begins with a new key. */
  async abandon(): Promise<void> {
    if (this.#request === undefined && this.#next === undefined) return;
    this.#wipeRenewal();
    await this.#keep();
  }

  /** Overwrite every key. Idempotent. What was kept stays kept. */
  [Symbol.dispose](): void {
    this.#wipeRenewal();
    this.#current[Symbol.dispose]();
  }

  #wipeRenewal(): void {
    this.#request?.keyPair[Symbol.dispose]();
    this.#request = undefined;
    this.#next?.[Symbol.dispose]();
    this.#next = undefined;
  }

  async #keep(): Promise<void> {
    await this.#keeper.keep({
      nodeName: this.newest.nodeName,
      trust: this.#trust,
      current: this.#current,
      pending: this.#next ?? this.#request,
    });
  }
}

function rootsOf({
  trustGeneration: generation,
  trustBundle: roots,
  refusedIssuers,
}: Identity): TrustedRoots {
  return { generation, roots, refusedIssuers };
}
