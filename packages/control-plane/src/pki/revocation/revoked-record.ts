import { RksError } from "@rk8s/protocol";
import { z } from "zod";

/** That a certificate is revoked, as it is kept. */
export interface RevokedRecord {
  readonly serialNumber: string;
  /** Milliseconds. The first revocation counts, whoever asks again. */
  readonly revokedAtMs: number;
  /** End of the certificate, milliseconds. */
  readonly notAfterMs: number;
  /** The list that it is in, see `crlIdOf`; empty: in none, because nobody knows its issuer. */
  readonly crlId: string;
  /** Part of the list where its entry was put; a hint. */
  readonly shard: number;
  /** Issuer that revoked it, as far as known. */
  readonly issuerId: string;
}

const schema = z.object({
  at: z.int(),
  end: z.int(),
  crl: z.string(),
  shard: z.int().min(0),
  issuer: z.string(),
});

/** Encode a record; the serial number is in its key. */
export function encodeRevokedRecord(record: RevokedRecord): Uint8Array {
  const { revokedAtMs: at, notAfterMs: end, crlId: crl, shard, issuerId: issuer } = record;
  return Buffer.from(JSON.stringify({ at, end, crl, shard, issuer } satisfies z.input<typeof schema>));
}

/** @throws {RksError} STORAGE_CORRUPT naming the key. */
export function decodeRevokedRecord(serialNumber: string, value: Uint8Array, key: string): RevokedRecord {
  try {
    const { at, end, crl, shard, issuer } = schema.parse(JSON.parse(new TextDecoder().decode(value)));
    return { serialNumber, revokedAtMs: at, notAfterMs: end, crlId: crl, shard, issuerId: issuer };
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", `the revocation record "${key}" cannot be read`, {
      cause,
      suggestion: "Restore the data folder from a backup.",
    });
  }
}
