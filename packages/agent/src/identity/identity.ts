import type { Credentials } from "@rk8s/protocol";
import type { StashedKey } from "./identity-stash.js";
import type { KeyPair } from "./key-pair.js";

/** What the control plane issued; checked by `readCertificateAnswer`. */
export interface IdentityInit {
  readonly role: "node" | "operator";
  readonly nodeName: string;
  readonly certificateChain: readonly Uint8Array[];
  readonly trustBundle: readonly Uint8Array[];
  /** Of `trustBundle`; default 0. */
  readonly trustGeneration?: number | undefined;
  /** Of `trustBundle`; default: none. */
  readonly refusedIssuers?: readonly Uint8Array[] | undefined;
  readonly serialNumber: string;
  readonly notAfter: Date;
  /** By the control plane's clock; the certificate itself is backdated. */
  readonly issuedAt: Date;
  readonly renewAfter: Date;
  /** What the control plane said about coming back after a reboot; with a join and a recovery only. */
  readonly recovery?: RecoveryTerms | undefined;
  /** What was exchanged for the certificate; an identity without it cannot be stashed. */
  readonly exchange?: CertificateExchange | undefined;
}

/** What a node has to know to come back. */
export interface RecoveryTerms {
  /** What the next recovery has to name. */
  readonly sequence: number;
  /** Recoveries that need no key of the machine. */
  readonly grantsLeft: number;
}

/** A request for a certificate and its answer, as they were on the wire. */
export interface CertificateExchange {
  /** DER (RFC 2986). */
  readonly csr: Uint8Array;
  /** The body of the `Certificate` message. */
  readonly answer: Uint8Array;
}

/**
 * Who this process is to the cluster: a key pair with the certificate that the control plane issued for it, and
 * the roots to trust. It exists in memory only; disposal overwrites the private key.
 */
export class Identity implements Disposable {
  readonly role: "node" | "operator";
  /** The name that the control plane gave; empty for an operator. */
  readonly nodeName: string;
  /** DER, leaf first, each followed by its issuer; without the root, which the server has. */
  readonly certificateChain: readonly Uint8Array[];
  /** DER, the roots that a server's certificate must chain to, as they were when the certificate came. */
  readonly trustBundle: readonly Uint8Array[];
  /** Which generation of the cluster's roots these are. */
  readonly trustGeneration: number;
  /** SHA-256 of the SubjectPublicKeyInfo of intermediates below these roots that do not count. */
  readonly refusedIssuers: readonly Uint8Array[] | undefined;
  readonly serialNumber: string;
  readonly notAfter: Date;
  /** By the control plane's clock; the certificate itself is backdated. */
  readonly issuedAt: Date;
  /** When two thirds of the lifetime are over. */
  readonly renewAfter: Date;
  /** What the control plane said about coming back after a reboot; with a join and a recovery only. */
  readonly recovery: RecoveryTerms | undefined;
  readonly #keyPair: KeyPair;
  readonly #exchange: CertificateExchange | undefined;

  /** The identity owns the key pair from now on. */
  constructor(init: IdentityInit, keyPair: KeyPair) {
    this.role = init.role;
    this.nodeName = init.nodeName;
    this.certificateChain = init.certificateChain;
    this.trustBundle = init.trustBundle;
    this.trustGeneration = init.trustGeneration ?? 0;
    this.refusedIssuers = init.refusedIssuers;
    this.serialNumber = init.serialNumber;
    this.notAfter = init.notAfter;
    this.issuedAt = init.issuedAt;
    this.renewAfter = init.renewAfter;
    this.recovery = init.recovery;
    this.#keyPair = keyPair;
    this.#exchange = init.exchange;
  }

  /** SubjectPublicKeyInfo (DER). */
  get spki(): Uint8Array {
    return this.#keyPair.spki;
  }

  /**
   * What a transport presents. Each call copies the private key; the transport overwrites its copy.
   * @throws TypeError after disposal.
   */
  credentials(): Credentials {
    return { certificateChain: this.certificateChain, privateKey: this.#keyPair.exportPrivateKey() };
  }

  /**
   * What a stash keeps of this identity; undefined for one whose exchange is not known. Each call copies the private
   * key; the caller overwrites the copy.
   * @throws TypeError after disposal.
   */
  stashedKey(): StashedKey | undefined {
    if (this.#exchange === undefined) return undefined;
    return { pkcs8: this.#keyPair.exportPrivateKey(), ...this.#exchange };
  }

  /** Whether the certificate's time is over. */
  isExpired(nowMs: number): boolean {
    return nowMs > this.notAfter.getTime();
  }

  /** Overwrite the private key. Idempotent. */
  [Symbol.dispose](): void {
    this.#keyPair[Symbol.dispose]();
  }
}
