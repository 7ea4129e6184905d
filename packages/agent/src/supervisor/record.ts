import { createHash } from "node:crypto";

/** Begins every record; the last byte is the format's version. */
const MAGIC = Buffer.from("RKLSTSH\u0001", "latin1");
const LENGTH_AT = MAGIC.length;
const GENERATION_AT = LENGTH_AT + 4;
const DIGEST_AT = GENERATION_AT + 8;
/** Bytes before the payload. */
export const RECORD_HEAD_BYTES = DIGEST_AT + 32;

/** What was written at once, and how often something was written before it. */
export interface StashRecord {
  readonly generation: bigint;
  /** A view into the bytes that were read; whoever reads them overwrites them. */
  readonly payload: Uint8Array;
}

/**
 * A record: magic, `u32be` length, `u64be` generation, SHA-256 of generation and payload, payload. Half a record, or
 * one with anything changed, is none.
 */
export function encodeRecord({ generation, payload }: StashRecord): Buffer {
  const record = Buffer.alloc(RECORD_HEAD_BYTES + payload.length);
  MAGIC.copy(record);
  record.writeUInt32BE(payload.length, LENGTH_AT);
  record.writeBigUInt64BE(generation, GENERATION_AT);
  record.set(payload, RECORD_HEAD_BYTES);
  digestOf(record).copy(record, DIGEST_AT);
  return record;
}

/** The record that the bytes are, undefined when they are anything else. */
export function decodeRecord(bytes: Buffer): StashRecord | undefined {
  if (bytes.length < RECORD_HEAD_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  if (bytes.readUInt32BE(LENGTH_AT) !== bytes.length - RECORD_HEAD_BYTES) return undefined;
  if (!bytes.subarray(DIGEST_AT, RECORD_HEAD_BYTES).equals(digestOf(bytes))) return undefined;
  return { generation: bytes.readBigUInt64BE(GENERATION_AT), payload: bytes.subarray(RECORD_HEAD_BYTES) };
}

function digestOf(record: Buffer): Buffer {
  return createHash("sha256")
    .update(record.subarray(GENERATION_AT, DIGEST_AT))
    .update(record.subarray(RECORD_HEAD_BYTES))
    .digest();
}
