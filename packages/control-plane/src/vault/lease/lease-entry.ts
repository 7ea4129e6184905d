import { RksError } from "@rk8s/protocol";
import { z } from "zod";

const leaseEntry = z.object({
  version: z.literal(1),
  /** Of the mount that can undo it. */
  mountAccessor: z.string(),
  /** Hash of the token that it ends with; none: it ends by time alone. */
  token: z.string().optional(),
  issuedAtMs: z.int(),
  expiresAtMs: z.int(),
  renewedAtMs: z.int().optional(),
  /** When it is to be undone, or to be tried again: `expiresAtMs` unless it is being revoked. */
  dueAtMs: z.int(),
  ttlSeconds: z.int().min(0),
  maxTtlSeconds: z.int().min(0),
  renewable: z.boolean(),
  /** It has ended, though it may not be undone yet. */
  revoking: z.boolean(),
  /** How often undoing it has failed. */
  failures: z.int().min(0),
  /** For the backend. */
  internal: z.record(z.string(), z.unknown()).readonly(),
});

/** A lease as it is kept. */
export type LeaseEntry = Readonly<z.output<typeof leaseEntry>>;

export function encodeLease(entry: LeaseEntry): Uint8Array {
  return Buffer.from(JSON.stringify(entry));
}

/** @throws {RksError} STORAGE_CORRUPT */
export function decodeLease(bytes: Uint8Array): LeaseEntry {
  try {
    return leaseEntry.parse(JSON.parse(Buffer.from(bytes).toString()));
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", "a lease has a form that is not known", {
      suggestion: "Use the version of rks that wrote the data folder.",
      cause,
    });
  }
}
