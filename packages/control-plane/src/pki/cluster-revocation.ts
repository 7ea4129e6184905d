import { hex, RksError } from "@rk8s/protocol";
import { pagesOf, type Storage, type Write } from "@rk8s/storage";
import { parseCertificate, type RevocationReason } from "@rk8s/x509";
import { z } from "zod";
import { readClusterCertificate } from "./cluster-store.js";

/** Why a certificate of the cluster's CA is void; `certificateHold` can be lifted (RFC 5280 §5.3.1). */
export type ClusterRevocationReason = Extract<
  RevocationReason,
  "superseded" | "cessationOfOperation" | "certificateHold"
>;

/** That a certificate is void. */
export interface ClusterRevocation {
  readonly serialNumber: string;
  /** Milliseconds. */
  readonly revokedAtMs: number;
  /** End of the certificate, milliseconds. */
  readonly notAfterMs: number;
  readonly reason: ClusterRevocationReason;
  /** Key identifier of the issuer that signed it, hexadecimal digits. */
  readonly issuerKeyId: string;
}

const REVOKED = "revoked/";
/** Written with every change, so that one look tells whether a list is up to date. */
const STAMP = "revoked-stamp";
/** A revoked certificate is in the lists this much longer than it lives: whoever has an older list learns of it. */
const KEPT_AFTER_END_MS = 3_600_000;
const REMOVED_AT_ONCE = 100;

const schema = z.object({
  at: z.int(),
  end: z.int(),
  why: z.enum(["superseded", "cessationOfOperation", "certificateHold"]),
  issuer: z.string(),
});

/**
 * Certificates of the cluster's CA that are void before their end. Revoking is a write among others, so that it comes true
 * together with its cause or not at all.
 */
export class ClusterRevocations {
  readonly #barrier: Storage;
  readonly #prefix: string;

  constructor(barrier: Storage, prefix: string) {
    this.#barrier = barrier;
    this.#prefix = prefix;
  }

  /**
   * The writes that revoke certificates from `now` on; those that are not kept any more are over and are left out. What
   * is on hold can be revoked for good.
   * @throws {RksError} what the storage throws.
   */
  async writes(
    serialNumbers: readonly string[],
    how: { readonly reason: ClusterRevocationReason; readonly now: number },
  ): Promise<Write[]> {
    const writes: Write[] = [];
    for (const serialNumber of new Set(serialNumbers)) {
      const kept = await readClusterCertificate(this.#barrier, this.#prefix, serialNumber);
      if (kept === undefined) continue;
      const certificate = parseCertificate(kept.der);
      const record: z.input<typeof schema> = {
        at: how.now,
        end: certificate.notAfter,
        why: how.reason,
        issuer: hex(certificate.authorityKeyId ?? new Uint8Array()),
      };
      const value = Buffer.from(JSON.stringify(record));
      writes.push({ type: "put", key: this.#key(serialNumber), value });
    }
    return writes.length === 0 ? [] : [...writes, this.#stamp()];
  }

  /** The writes that lift a hold. */
  releases(serialNumbers: readonly string[]): Write[] {
    const keys = [...new Set(serialNumbers)].map((serialNumber) => this.#key(serialNumber));
    return [...keys.map((key) => ({ type: "delete", key }) as const), this.#stamp()];
  }

  /** @throws {RksError} STORAGE_CORRUPT. */
  async find(serialNumber: string): Promise<ClusterRevocation | undefined> {
    const entry = await this.#barrier.get(this.#key(serialNumber));
    return entry === undefined ? undefined : decode(serialNumber, entry.value, entry.key);
  }

  /** Changes with every revocation and every release. */
  async version(): Promise<number> {
    return (await this.#barrier.get(this.#prefix + STAMP))?.modRevision ?? 0;
  }

  /** Everything that is revoked, in the order of the serial numbers. @throws {RksError} STORAGE_CORRUPT. */
  async *list(): AsyncGenerator<ClusterRevocation, void, void> {
    const folder = this.#prefix + REVOKED;
    for await (const entries of pagesOf(this.#barrier, folder)) {
      for (const { key, value } of entries) yield decode(key.slice(folder.length), value, key);
    }
  }

  /** Forget what is over. Returns how many. */
  async tidy(now: number): Promise<number> {
    const over: string[] = [];
    for await (const { serialNumber, notAfterMs } of this.list()) {
      if (notAfterMs + KEPT_AFTER_END_MS < now) over.push(serialNumber);
    }
    for (let at = 0; at < over.length; at += REMOVED_AT_ONCE) {
      await this.#barrier.transaction([], this.releases(over.slice(at, at + REMOVED_AT_ONCE)));
    }
    return over.length;
  }

  #key(serialNumber: string): string {
    return `${this.#prefix}${REVOKED}${serialNumber}`;
  }

  #stamp(): Write {
    return { type: "put", key: this.#prefix + STAMP, value: new Uint8Array() };
  }
}

function decode(serialNumber: string, value: Uint8Array, key: string): ClusterRevocation {
  try {
    const { at, end, why, issuer } = schema.parse(JSON.parse(new TextDecoder().decode(value)));
    return { serialNumber, revokedAtMs: at, notAfterMs: end, reason: why, issuerKeyId: issuer };
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", `the revocation record "${key}" cannot be read`, {
      cause,
      suggestion: "Restore the data folder from a backup.",
    });
  }
}
