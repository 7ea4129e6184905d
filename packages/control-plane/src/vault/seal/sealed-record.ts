import { createCipheriv, createDecipheriv, randomFillSync } from "node:crypto";

/** AES-256. */
export const KEY_BYTES = 32;
const FORMAT = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Format, term, sequence. */
const HEADER_BYTES = 1 + 4 + 6;
/** What encryption adds to a value. */
const RECORD_OVERHEAD_BYTES = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;

export interface RecordHeader {
  /** Which key of the keyring; 0 for keys that are not in it. */
  readonly term: number;
  /** Number of the barrier transaction that wrote the record, with its writer's above it; 0 outside the barrier. */
  readonly sequence: number;
}

/**
 * Encrypt a value with AES-256-GCM as `format(1) ‖ term(4) ‖ sequence(6) ‖ nonce(12) ‖ ciphertext ‖ tag(16)`. Path
 * and header are authenticated with it, so that a record is refused under any other path, term or sequence.
 */
export function sealRecord(
  key: Uint8Array,
  path: string,
  header: RecordHeader,
  plaintext: Uint8Array,
): Uint8Array {
  const record = Buffer.allocUnsafeSlow(RECORD_OVERHEAD_BYTES + plaintext.byteLength);
  record.writeUInt8(FORMAT, 0);
  record.writeUInt32BE(header.term, 1);
  record.writeUIntBE(header.sequence, 5, 6);
  const nonce = record.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
  randomFillSync(nonce);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(additionalData(record, path));
  record.set(cipher.update(plaintext), HEADER_BYTES + NONCE_BYTES);
  cipher.final();
  record.set(cipher.getAuthTag(), record.length - TAG_BYTES);
  return record;
}

/** The header as it is written there, not yet authenticated; undefined when this is not a record. */
export function recordHeader(record: Uint8Array): RecordHeader | undefined {
  if (record.byteLength < RECORD_OVERHEAD_BYTES || record[0] !== FORMAT) return undefined;
  const bytes = view(record);
  return { term: bytes.readUInt32BE(1), sequence: bytes.readUIntBE(5, 6) };
}

/** Decrypt a record; undefined when key, path or a single bit of it is not the one it was made with. */
export function openRecord(key: Uint8Array, path: string, record: Uint8Array): Uint8Array | undefined {
  if (recordHeader(record) === undefined) return undefined;
  const bytes = view(record);
  const body = HEADER_BYTES + NONCE_BYTES;
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(HEADER_BYTES, body), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(additionalData(bytes, path));
  decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
  const plaintext = decipher.update(bytes.subarray(body, bytes.length - TAG_BYTES));
  try {
    decipher.final();
  } catch {
    plaintext.fill(0);
    return undefined;
  }
  return plaintext;
}

function additionalData(record: Buffer, path: string): Buffer {
  return Buffer.concat([record.subarray(0, HEADER_BYTES), Buffer.from(path)]);
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
