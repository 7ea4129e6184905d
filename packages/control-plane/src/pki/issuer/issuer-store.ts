import { type Clock, RksError } from "@rk8s/protocol";
import type { Storage, Write } from "@rk8s/storage";
import { Serial } from "../../vault/serial.js";
import { CertificateAuthority } from "../certificate-authority.js";
import { certificatePem } from "../certificate-format.js";
import type { AccessConfig } from "./access-config.js";
import { encodeAccessPoints } from "./access-points.js";
import type { Issuer, IssuerState, IssuerUsage } from "./issuer.js";
import { buildChain, isIssuedBy } from "./issuer-chain.js";
import { IssuerChange } from "./issuer-change.js";
import { readIssuerState } from "./issuer-records.js";
import { KeyStore } from "./key-store.js";
import { DEFAULT_REFERENCE, findByReference } from "./reference.js";

/** Issuers that sign every day are few; each holds a decrypted key. */
const MAX_AUTHORITIES = 32;
/** Changes wait for each other; who would wait behind this many is told to come back. */
const MAX_WAITING_CHANGES = 100;
/** Written with every change, and compared: what is in memory is what is stored. */
const STAMP = "issuers-stamp";
/** In one transaction. */
const WRITES_AT_ONCE = 100;

interface StampedState {
  readonly state: IssuerState;
  readonly stampRevision: number;
}

export interface IssuerStorePorts {
  readonly access: AccessConfig;
  readonly clock: Pick<Clock, "now">;
}

/** The issuers of a mount, with everything but private keys in memory. */
export class IssuerStore {
  readonly keys: KeyStore;
  readonly #storage: Storage;
  readonly #prefix: string;
  readonly #access: AccessConfig;
  readonly #clock: Pick<Clock, "now">;
  readonly #changes = new Serial();
  #waiting = 0;
  #state: IssuerState;
  /** Of the stamp, read before the state. */
  #stampRevision: number;
  /** By issuer id, least recently used first; empty again after every change. */
  #authorities = new Map<string, Promise<CertificateAuthority>>();
  #chains = new Map<string, readonly Issuer[]>();
  #pems = new Map<string, string>();
  #accessVersion = 0;

  private constructor(
    storage: Storage,
    prefix: string,
    ports: IssuerStorePorts,
    { state, stampRevision }: StampedState,
  ) {
    this.#storage = storage;
    this.#prefix = prefix;
    this.#access = ports.access;
    this.#clock = ports.clock;
    this.#state = state;
    this.#stampRevision = stampRevision;
    this.keys = new KeyStore(storage, prefix, () => this.#state);
  }

  /** @throws {RksError} STORAGE_CORRUPT. */
  static async open(storage: Storage, prefix: string, ports: IssuerStorePorts): Promise<IssuerStore> {
    return new IssuerStore(storage, prefix, ports, await readStamped(storage, prefix));
  }

  /** All issuers and keys as they are now. */
  get state(): IssuerState {
    return this.#state;
  }

  /** The issuer that an id, a name or `default` means. */
  find(reference: string): Issuer | undefined {
    const { issuers, defaultIssuerId } = this.#state;
    return findByReference(reference === DEFAULT_REFERENCE ? defaultIssuerId : reference, issuers);
  }

  /** @throws {RksError} INPUT_INVALID when there is no such issuer. */
  require(reference: string): Issuer {
    const issuer = this.find(reference);
    if (issuer !== undefined) return issuer;
    const problem =
      reference === DEFAULT_REFERENCE
        ? "no default issuer currently configured"
        : `unable to find PKI issuer for reference: ${JSON.stringify(reference.slice(0, 80))}`;
    throw new RksError("INPUT_INVALID", problem, {
      suggestion: "List the issuers, and name one by issuer_name or issuer_id; or generate or import one.",
    });
  }

  /** The issuers with this serial number; several may have it, of different makers. */
  bySerialNumber(serialNumber: string): readonly Issuer[] {
    return [...this.#state.issuers.values()].filter(
      ({ certificate }) => certificate.serialNumber === serialNumber,
    );
  }

  /** The issuer's chain, itself first; see `buildChain`. Kept until issuers change. */
  chainOf(issuer: Issuer): readonly Issuer[] {
    let chain = this.#chains.get(issuer.id);
    if (chain === undefined) {
      chain = buildChain(issuer, this.#state.issuers, (child, parent) =>
        isIssuedBy(child.certificate, parent.certificate),
      );
      this.#chains.set(issuer.id, chain);
    }
    return chain;
  }

  /** An issuer's certificate as PEM without a newline at the end. Kept until issuers change. */
  pemOf(issuer: Issuer): string {
    let pem = this.#pems.get(issuer.id);
    if (pem === undefined) {
      pem = certificatePem(issuer.certificate.der);
      this.#pems.set(issuer.id, pem);
    }
    return pem;
  }

  /** `chainOf` as PEM. */
  pemChainOf(issuer: Issuer): readonly string[] {
    return this.chainOf(issuer).map((link) => this.pemOf(link));
  }

  /**
   * What the issuer signs with. Its key is read once and kept until issuers or access points change, or others push it
   * out.
   * @throws {RksError} INPUT_INVALID when the mount has not its key or it may not be used for this.
   */
  async authority(issuer: Issuer, usage: IssuerUsage): Promise<CertificateAuthority> {
    this.assertUsable(issuer, usage);
    if (this.#accessVersion !== this.#access.version) this.#forget();
    const authorities = this.#authorities;
    const kept = authorities.get(issuer.id);
    const authority = kept ?? this.#open(issuer);
    authorities.delete(issuer.id);
    authorities.set(issuer.id, authority);
    for (const id of authorities.keys()) {
      if (authorities.size <= MAX_AUTHORITIES) break;
      authorities.delete(id);
    }
    try {
      return await authority;
    } catch (error) {
      if (authorities.get(issuer.id) === authority) authorities.delete(issuer.id);
      throw error;
    }
  }

  /** @throws {RksError} INPUT_INVALID when the mount has not its key or it may not be used for this. */
  assertUsable(issuer: Issuer, usage: IssuerUsage): void {
    const named = issuer.name === "" ? issuer.id : issuer.name;
    if (!issuer.usage.includes(usage)) {
      throw new RksError("INPUT_INVALID", `issuer "${named}" has not the usage "${usage}"`, {
        suggestion:
          issuer.revokedAtMs === 0
            ? `Add "${usage}" to the issuer's usage, or choose another issuer.`
            : "Choose another issuer: this one is revoked.",
      });
    }
    if (issuer.keyId === "") {
      throw new RksError("INPUT_INVALID", `issuer "${named}" has no key in this mount to sign with`, {
        suggestion: "Import its key with issuers/import/bundle or keys/import, or choose another issuer.",
      });
    }
  }

  /**
   * Change issuers and keys: one change at a time, committed as one transaction when `action` returns, given up when it
   * throws. More than `WRITES_AT_ONCE` writes, which only deleting hundreds of them takes, are several
   * transactions.
   * @throws {RksError} BUSY when too many changes wait; CONFLICT when another process was faster; what `action` and the storage throw.
   */
  async change<T>(action: (change: IssuerChange) => T | Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING_CHANGES) {
      throw new RksError("BUSY", `${this.#waiting} changes of the mount's issuers wait already`, {
        suggestion: "Try again in a moment.",
      });
    }
    this.#waiting += 1;
    try {
      return await this.#changes.run(() => this.#change(action));
    } finally {
      this.#waiting -= 1;
    }
  }

  /** Forget everything that was decrypted; to be called when the vault is sealed. */
  close(): void {
    this.#forget();
  }

  async #change<T>(action: (change: IssuerChange) => T | Promise<T>): Promise<T> {
    const change = new IssuerChange(this.#prefix, this.#state, this.#clock.now());
    let writes: readonly Write[] = [];
    try {
      const result = await action(change);
      writes = change.finish();
      for (let at = 0; at < writes.length; at += WRITES_AT_ONCE) {
        await this.#commit(writes.slice(at, at + WRITES_AT_ONCE));
      }
      this.#state = change.state;
      return result;
    } catch (error) {
      if (writes.length > WRITES_AT_ONCE || RksError.from(error).code === "CONFLICT") {
        const { state, stampRevision } = await readStamped(this.#storage, this.#prefix);
        this.#state = state;
        this.#stampRevision = stampRevision;
      }
      throw error;
    } finally {
      change.wipe();
      this.#forget();
    }
  }

  async #commit(writes: readonly Write[]): Promise<void> {
    const key = this.#prefix + STAMP;
    const { succeeded, revision } = await this.#storage.transaction(
      [{ key, modRevision: this.#stampRevision }],
      [...writes, { type: "put", key, value: new Uint8Array() }],
    );
    if (!succeeded) {
      throw new RksError("CONFLICT", "another process changed the issuers of this mount at this moment", {
        suggestion: "Try again.",
      });
    }
    this.#stampRevision = revision;
  }

  async #open(issuer: Issuer): Promise<CertificateAuthority> {
    const { certificate, keyId } = issuer;
    const accessPoints = encodeAccessPoints(this.#access.urlsOf(issuer));
    return new CertificateAuthority(certificate, await this.keys.privateKey(keyId), { accessPoints });
  }

  #forget(): void {
    this.#accessVersion = this.#access.version;
    this.#authorities = new Map();
    this.#chains = new Map();
    this.#pems = new Map();
  }
}

async function readStamped(storage: Storage, prefix: string): Promise<StampedState> {
  const stampRevision = (await storage.get(prefix + STAMP))?.modRevision ?? 0;
  return { stampRevision, state: await readIssuerState(storage, prefix) };
}
