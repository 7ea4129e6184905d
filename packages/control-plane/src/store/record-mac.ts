import { createHmac } from "node:crypto";
import type { DerivedKey } from "../vault/seal/barrier.js";

/** Where keys of the vault come from. */
export interface KeySource {
  /** As `Barrier.deriveKey`. */
  deriveKey(purpose: string, term?: number): DerivedKey | undefined;
}

/** What a key of the vault made of a record. */
export interface RecordMac {
  /** Of the keyring. */
  readonly term: number;
  readonly mac: Buffer;
}

/**
 * A MAC of a record, by the vault's key for one purpose: the same for the same fields, whatever the order in which they were
 * written down. Undefined: the term is unknown.
 */
export function recordMac(
  record: object,
  keys: KeySource,
  { purpose, term }: { readonly purpose: string; readonly term?: number },
): RecordMac | undefined {
  const derived = keys.deriveKey(purpose, term);
  if (derived === undefined) return undefined;
  const fields = Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const mac = createHmac("sha256", derived.key).update(JSON.stringify(fields)).digest();
  derived.key.fill(0);
  return { term: derived.term, mac };
}
