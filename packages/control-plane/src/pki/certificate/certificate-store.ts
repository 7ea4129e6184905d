import { RksError } from "@rk8s/protocol";
import type { Comparison, Storage, Write } from "@rk8s/storage";
import { parseCertificate } from "@rk8s/x509";
import { ExpiryIndex } from "./expiry-index.js";

/** A certificate as it is kept. */
export interface CertificateRecord {
  readonly der: Uint8Array;
  /** Id of the issuer that signed it; empty: it is not known. */
  readonly issuerId: string;
  /** Role that it was issued by; empty for roots and intermediates. */
  readonly role: string;
}

const CERTIFICATES = "certs/";
const BY_END = "cert-expiry/";
/** First byte of a record; another layout gets another number. */
const LAYOUT = 1;
const ID_BYTES = 16;

/**
 * Every certificate that the mount issued and keeps, by serial number. Nothing of them is in memory, and a record is
 * little more than the certificate: layout, issuer id (16 bytes), length of the role's name, role, DER.
 */
export class CertificateStore {
  readonly #storage: Storage;
  readonly #folder: string;
  /** Its certificates in the order in which they end. */
  readonly byEnd: ExpiryIndex;

  constructor(storage: Storage, prefix: string) {
    this.#storage = storage;
    this.#folder = prefix + CERTIFICATES;
    this.byEnd = new ExpiryIndex(storage, prefix + BY_END);
  }

  /**
   * The two writes that keep a certificate; commit them with whatever belongs to it.
   * @param record with `notAfterMs` where it is known, or the certificate is parsed for it.
   */
  writes(serialNumber: string, record: CertificateRecord & { readonly notAfterMs?: number }): Write[] {
    const { notAfterMs = parseCertificate(record.der).notAfter } = record;
    return [
      { type: "put", key: this.#folder + serialNumber, value: encode(record) },
      this.byEnd.put({ serialNumber, notAfterMs }),
    ];
  }

  /** The two writes that forget a certificate with this end. */
  deletes(serialNumber: string, notAfterMs: number): Write[] {
    return [
      { type: "delete", key: this.#folder + serialNumber },
      this.byEnd.delete({ serialNumber, notAfterMs }),
    ];
  }

  /** Holds as long as no certificate is kept under the serial number. */
  absence(serialNumber: string): Comparison {
    return { key: this.#folder + serialNumber, modRevision: 0 };
  }

  /**
   * How many certificates end within each of these times from now; for metrics. Reads the index of those alone, a page at
   * a time.
   */
  async endingWithin(nowMs: number, windowsMs: readonly number[]): Promise<readonly number[]> {
    const counts = windowsMs.map(() => 0);
    const beforeMs = nowMs + Math.max(0, ...windowsMs);
    for await (const page of this.byEnd.pages({ fromMs: nowMs, beforeMs })) {
      for (const { notAfterMs } of page) {
        for (const [index, windowMs] of windowsMs.entries()) {
          if (notAfterMs < nowMs + windowMs) counts[index] = (counts[index] ?? 0) + 1;
        }
      }
    }
    return counts;
  }

  /** @throws {RksError} STORAGE_CORRUPT. */
  async read(serialNumber: string): Promise<CertificateRecord | undefined> {
    const entry = await this.#storage.get(this.#folder + serialNumber);
    return entry === undefined ? undefined : decode(entry.value, entry.key);
  }

  /** Serial numbers in the order of their digits, at most `limit` of them, after `after`. */
  async list(
    range: { readonly after?: string; readonly limit?: number } = {},
  ): Promise<{ readonly serialNumbers: readonly string[]; readonly more: boolean }> {
    const { after, limit } = range;
    const page = await this.#storage.list(this.#folder, {
      ...(after === undefined ? {} : { after: this.#folder + after }),
      ...(limit === undefined ? {} : { limit }),
    });
    return {
      serialNumbers: page.entries.map(({ key }) => key.slice(this.#folder.length)),
      more: page.more,
    };
  }
}

function encode({ der, issuerId, role }: CertificateRecord): Uint8Array {
  const id = Buffer.from(issuerId.replaceAll("-", ""), "hex");
  const name = Buffer.from(role, "utf8");
  if ((id.length !== 0 && id.length !== ID_BYTES) || name.length > 255) {
    throw new TypeError("a certificate record has an issuer id or a role that is too long");
  }
  const value = new Uint8Array(2 + ID_BYTES + name.length + der.length);
  value[0] = LAYOUT;
  value.set(id, 1);
  value[1 + ID_BYTES] = name.length;
  value.set(name, 2 + ID_BYTES);
  value.set(der, 2 + ID_BYTES + name.length);
  return value;
}

function decode(value: Uint8Array, key: string): CertificateRecord {
  const roleEnd = 2 + ID_BYTES + (value[1 + ID_BYTES] ?? 0);
  if (value[0] !== LAYOUT || value.length <= roleEnd) {
    throw new RksError("STORAGE_CORRUPT", `the certificate record "${key}" cannot be read`, {
      suggestion: "Restore the data folder from a backup.",
    });
  }
  const id = Buffer.from(value.subarray(1, 1 + ID_BYTES));
  return {
    der: value.subarray(roleEnd),
    issuerId: id.every((byte) => byte === 0)
      ? ""
      : id.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"),
    role: new TextDecoder().decode(value.subarray(2 + ID_BYTES, roleEnd)),
  };
}
