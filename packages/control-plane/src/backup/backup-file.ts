import { timingSafeEqual } from "node:crypto";
import { type FileHandle, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { RksError } from "@rk8s/protocol";
import type { Entry } from "@rk8s/storage";
import { z } from "zod";
import { fileError, syncFolder } from "../lifecycle/durable-file.js";
import { type KeySource, recordMac } from "../store/record-mac.js";
import { assertFree, type BackupPlace } from "./backup-place.js";

const MAC_PURPOSE = "rk8s/backup/1";
/** What is written at a time. */
const CHUNK_BYTES = 262_144;
/** Far above what the store takes. */
const MAX_KEY_BYTES = 4096;
const MAX_VALUE_BYTES = 4_194_304;
const MAX_HEADER_BYTES = 65_536;

const header = z.strictObject({
  format: z.literal("rks-backup/1"),
  /** Which vault; see `vaultIdOf`. */
  vault: z.string(),
  epoch: z.int().min(0),
  createdAt: z.string(),
  /** All entries, the seal's included, and their digest. */
  entries: z.int().min(0),
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  /** Of the keyring, with whose key it is authenticated. */
  term: z.int(),
});

/** What a backup says of itself. */
export type BackupHeader = z.output<typeof header>;

const sealedHeader = z.object({ header, mac: z.string().regex(/^[0-9a-f]{64}$/) });

/** The first line of a backup. */
export interface ReadHeader {
  readonly header: BackupHeader;
  readonly mac: Uint8Array;
  /** Where the entries begin. */
  readonly bytes: number;
}

/** Whether the vault whose keys these are made the backup. */
export function isAuthenticHeader({ header: read, mac }: ReadHeader, keys: KeySource): boolean {
  const expected = macOf(read, keys);
  return expected !== undefined && timingSafeEqual(expected, mac);
}

/**
 * Write a backup: one line of JSON, then the entries, each as `u32be key length ‖ key ‖ u32be value length ‖ value`. It is
 * there whole (0600) or not at all, and replaces nothing.
 * @throws {RksError} ALREADY_EXISTS, STORAGE_FULL, STORAGE_UNWRITABLE; what the entries throw.
 */
export async function writeBackup(
  { file, unfinished }: Pick<BackupPlace, "file" | "unfinished">,
  about: BackupHeader,
  keys: KeySource,
  entries: AsyncIterable<readonly Pick<Entry, "key" | "value">[]>,
): Promise<void> {
  const mac = macOf(about, keys);
  if (mac === undefined) throw RksError.from(new Error("the backup's term has no key"));
  try {
    const handle = await open(unfinished, "wx", 0o600);
    try {
      const line = JSON.stringify({ header: about, mac: mac.toString("hex") });
      await handle.writeFile(`${line}\n`);
      await writeEntries(handle, entries);
      await handle.sync();
    } finally {
      await handle.close();
    }
    // Others may have made one meanwhile.
    await assertFree(file);
    await rename(unfinished, file);
    await syncFolder(dirname(file));
  } catch (cause) {
    throw fileError(`write "${file}"`, cause);
  }
}

/** @throws {RksError} INPUT_INVALID when the file cannot be read or is no backup. */
export async function readBackupHeader(file: string): Promise<ReadHeader> {
  try {
    await using handle = await open(file, "r");
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_HEADER_BYTES), 0, MAX_HEADER_BYTES, 0);
    const end = buffer.subarray(0, bytesRead).indexOf("\n");
    if (end < 0) throw new Error("it has no first line");
    const parsed = sealedHeader.parse(JSON.parse(buffer.toString("utf8", 0, end)));
    return { header: parsed.header, mac: Buffer.from(parsed.mac, "hex"), bytes: end + 1 };
  } catch (cause) {
    throw new RksError("INPUT_INVALID", `"${file}" is not a backup that rks made`, {
      cause,
      suggestion: "Name a file that `rks storage backup` wrote.",
    });
  }
}

/** The entries of a backup, in the order of the file. @throws {RksError} STORAGE_CORRUPT when it is cut short or damaged. */
export async function* readBackupEntries(
  file: string,
  from: number,
): AsyncGenerator<Pick<Entry, "key" | "value">, void, void> {
  await using handle = await open(file, "r");
  let rest: Buffer = Buffer.alloc(0);
  const stream = handle.createReadStream({ start: from, highWaterMark: CHUNK_BYTES, autoClose: false });
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    for (let read = entryAt(rest, at, file); read !== undefined; read = entryAt(rest, at, file)) {
      at = read.end;
      yield read.entry;
    }
    rest = rest.subarray(at);
  }
  if (rest.length > 0) throw damagedBackup(file);
}

/** That a backup does not hold what was put into it. */
export function damagedBackup(file: string): RksError {
  return new RksError("STORAGE_CORRUPT", `the backup "${file}" is damaged or cut short`, {
    suggestion: "Use another backup.",
  });
}

function entryAt(
  bytes: Buffer,
  start: number,
  file: string,
): { readonly entry: Pick<Entry, "key" | "value">; readonly end: number } | undefined {
  if (bytes.length < start + 4) return undefined;
  const keyLength = bytes.readUInt32BE(start);
  if (keyLength === 0 || keyLength > MAX_KEY_BYTES) throw damagedBackup(file);
  const valueAt = start + 4 + keyLength + 4;
  if (bytes.length < valueAt) return undefined;
  const valueLength = bytes.readUInt32BE(valueAt - 4);
  if (valueLength > MAX_VALUE_BYTES) throw damagedBackup(file);
  const end = valueAt + valueLength;
  if (bytes.length < end) return undefined;
  const key = bytes.toString("utf8", start + 4, start + 4 + keyLength);
  return { entry: { key, value: Uint8Array.from(bytes.subarray(valueAt, end)) }, end };
}

async function writeEntries(
  handle: FileHandle,
  entries: AsyncIterable<readonly Pick<Entry, "key" | "value">[]>,
): Promise<void> {
  let waiting: Uint8Array[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    await handle.writeFile(Buffer.concat(waiting));
    waiting = [];
    bytes = 0;
  };
  for await (const page of entries) {
    for (const { key, value } of page) {
      const name = Buffer.from(key);
      const parts = [lengthOf(name), name, lengthOf(value), value];
      waiting.push(...parts);
      bytes += name.length + value.byteLength;
    }
    if (bytes >= CHUNK_BYTES) await flush();
  }
  await flush();
}

function lengthOf(bytes: Uint8Array): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.byteLength);
  return length;
}

function macOf(about: BackupHeader, keys: KeySource): Buffer | undefined {
  return recordMac(about, keys, { purpose: MAC_PURPOSE, term: about.term })?.mac;
}
