import { fromHex } from "@rk8s/protocol";
import { encodeRevokedCertificate } from "@rk8s/x509";
import type { RevokedRecord } from "./revoked-record.js";

/** Each revocation writes one shard anew, so shards are small; a list of 100,000 has some 450 of them. */
const MAX_SHARD_BYTES = 8192;

/** One part of a list: entries one after another, each encoded once and for all. */
export interface CrlShard {
  readonly number: number;
  readonly bytes: Uint8Array;
}

/** The entries of one list at one moment. Replaced as a whole, never changed. */
export interface CrlEntries {
  /** By number; entries are only ever appended to the last. */
  readonly shards: readonly CrlShard[];
  /** Greater than that of every list that the mount had before. */
  readonly version: number;
  /** Version of the last change that was more than appending. */
  readonly rewrittenAt: number;
}

/** Where an appended entry went. */
export interface Appended {
  readonly entries: CrlEntries;
  /** Shards that have to be written. */
  readonly changed: readonly CrlShard[];
  /** Shard number of each entry, in their order. */
  readonly placed: readonly number[];
}

/** A list that was just read, or has nothing in it. */
export function crlEntries(shards: readonly CrlShard[], version: number): CrlEntries {
  return { shards, version, rewrittenAt: version };
}

/** The entry of a revoked certificate; always the same bytes. */
export function crlEntryOf(record: Pick<RevokedRecord, "serialNumber" | "revokedAtMs">): Uint8Array {
  const serialNumber = fromHex(record.serialNumber);
  if (serialNumber === undefined) throw new TypeError("a serial number is not of hexadecimal digits");
  return encodeRevokedCertificate({ serialNumber, revocationTimeMs: record.revokedAtMs });
}

/** Append entries at the end of a list, which makes it this version. */
export function appendEntries(list: CrlEntries, added: readonly Uint8Array[], version: number): Appended {
  const shards = [...list.shards];
  const changed = new Map<number, CrlShard>();
  const placed: number[] = [];
  for (const entry of added) {
    const last = shards.at(-1);
    const fits = last !== undefined && last.bytes.length + entry.length <= MAX_SHARD_BYTES;
    const shard = fits
      ? { number: last.number, bytes: concat(last.bytes, entry) }
      : { number: last === undefined ? 0 : last.number + 1, bytes: entry };
    if (fits) shards.pop();
    shards.push(shard);
    changed.set(shard.number, shard);
    placed.push(shard.number);
  }
  const entries = { shards, version, rewrittenAt: list.rewrittenAt };
  return { entries, changed: [...changed.values()], placed };
}

/** Take entries out, which makes the list this version; those that are not there are passed over. */
export function removeEntries(
  list: CrlEntries,
  removed: readonly RevokedRecord[],
  version: number,
): { readonly entries: CrlEntries; readonly changed: readonly CrlShard[] } {
  const shards = new Map(list.shards.map((shard) => [shard.number, shard]));
  const changed = new Map<number, CrlShard>();
  for (const record of removed) {
    const entry = crlEntryOf(record);
    const hinted = shards.get(record.shard);
    const order = hinted === undefined ? shards.values() : [hinted, ...shards.values()];
    for (const { number, bytes } of order) {
      const at = indexOfEntry(bytes, entry);
      if (at === -1) continue;
      const rest = concat(bytes.subarray(0, at), bytes.subarray(at + entry.length));
      shards.set(number, { number, bytes: rest });
      changed.set(number, { number, bytes: rest });
      break;
    }
  }
  const left = [...shards.values()].filter(({ bytes }) => bytes.length > 0);
  return { entries: { shards: left, version, rewrittenAt: version }, changed: [...changed.values()] };
}

/**
 * What was appended to a list since it was as `base`; undefined when more than that happened to it.
 */
export function entriesSince(base: CrlEntries, list: CrlEntries): readonly Uint8Array[] | undefined {
  if (list.rewrittenAt > base.version) return undefined;
  const known = new Map(base.shards.map(({ number, bytes }) => [number, bytes.length]));
  return list.shards
    .map(({ number, bytes }) => bytes.subarray(known.get(number) ?? 0))
    .filter((bytes) => bytes.length > 0);
}

/** Where an entry begins; bytes in the middle of entries that happen to be the same do not count. */
function indexOfEntry(bytes: Uint8Array, entry: Uint8Array): number {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (!buffer.includes(Buffer.from(entry))) return -1;
  for (let at = 0; at < bytes.length;) {
    const length = 2 + (bytes[at + 1] ?? 0);
    if (length === entry.length && buffer.compare(entry, 0, length, at, at + length) === 0) return at;
    at += length;
  }
  return -1;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}
