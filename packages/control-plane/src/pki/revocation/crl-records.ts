import { RksError } from "@rk8s/protocol";
import { type Comparison, pagesOf, type Storage, untilCommitted, type Write } from "@rk8s/storage";
import { z } from "zod";
import { listFolder } from "../../vault/list-folder.js";
import type { CrlShard } from "./crl-entries.js";

/** What is known about a list besides its entries. */
interface CrlState {
  /** Of the newest list that was signed, complete or delta; 0: none was. */
  readonly number: number;
  /** Folder of the shards that count; a list that is made again gets another one. */
  readonly generation: number;
  /** The latest time that any of them was signed at, milliseconds. */
  readonly latestMs: number;
}

/** What a list that is about to be signed is called. */
export interface CrlNumber {
  readonly number: number;
  /** Whether its time is later than that of every list before. */
  readonly isLatest: boolean;
}

const STATES = "crl-state/";
const ENTRIES = "crl-entries/";
const SHARD_DIGITS = 8;
const WRITES_AT_ONCE = 100;
const schema = z.object({
  number: z.int().min(0),
  generation: z.int().min(0),
  latestMs: z.number().default(0),
});

/** Certificate revocation lists as they are stored: entries in small shards, the last number given. */
export class CrlRecords {
  readonly #storage: Storage;
  readonly #prefix: string;

  constructor(storage: Storage, prefix: string) {
    this.#storage = storage;
    this.#prefix = prefix;
  }

  /** All shards of a list, in order. @throws {RksError} STORAGE_CORRUPT. */
  async read(crlId: string): Promise<readonly CrlShard[]> {
    const folder = this.#folder(crlId, (await this.#state(crlId)).generation);
    const shards: CrlShard[] = [];
    for await (const entries of pagesOf(this.#storage, folder)) {
      for (const { key, value } of entries) {
        const number = Number(key.slice(folder.length));
        if (!Number.isSafeInteger(number) || !isWhole(value)) throw corrupt(key);
        shards.push({ number, bytes: value });
      }
    }
    return shards;
  }

  /** The writes that keep changed shards; empty ones are deleted. */
  async writes(crlId: string, changed: readonly CrlShard[]): Promise<Write[]> {
    const folder = this.#folder(crlId, (await this.#state(crlId)).generation);
    return changed.map((shard) => shardWrite(folder, shard));
  }

  /** Put other shards in the place of all that there are, which may be damaged. What was there stays on the disk, unread. */
  async replace(crlId: string, shards: readonly CrlShard[]): Promise<void> {
    const state = await this.#state(crlId);
    const generation = state.generation + 1;
    const folder = this.#folder(crlId, generation);
    // An attempt before this one may have left more shards than there are now.
    const left = await listFolder(this.#storage, folder);
    const writes: Write[] = left.slice(shards.length).map((name) => ({ type: "delete", key: folder + name }));
    writes.push(...shards.map((shard) => shardWrite(folder, shard)));
    for (let at = 0; at < writes.length; at += WRITES_AT_ONCE) {
      await this.#storage.transaction([], writes.slice(at, at + WRITES_AT_ONCE));
    }
    await this.#storage.transaction([], [this.#put(crlId, { ...state, generation })]);
  }

  /** Give the next number of a list that is signed at a time, and remember that it is given. */
  async nextNumber(crlId: string, signedMs: number): Promise<CrlNumber> {
    return untilCommitted("other processes number this list at this moment", async () => {
      const { state, unchanged } = await this.#read(crlId);
      const number = state.number + 1;
      const isLatest = signedMs > state.latestMs;
      const latestMs = Math.max(signedMs, state.latestMs);
      const put = this.#put(crlId, { ...state, number, latestMs });
      const { succeeded } = await this.#storage.transaction([unchanged], [put]);
      return succeeded ? { number, isLatest } : undefined;
    });
  }

  #folder(crlId: string, generation: number): string {
    return `${this.#prefix}${ENTRIES}${crlId}/${generation}/`;
  }

  #put(crlId: string, state: CrlState): Write {
    const value = Buffer.from(JSON.stringify(state satisfies z.input<typeof schema>));
    return { type: "put", key: this.#prefix + STATES + crlId, value };
  }

  async #state(crlId: string): Promise<CrlState> {
    return (await this.#read(crlId)).state;
  }

  /** The state, and that nobody has changed it since. */
  async #read(crlId: string): Promise<{ readonly state: CrlState; readonly unchanged: Comparison }> {
    const key = this.#prefix + STATES + crlId;
    const entry = await this.#storage.get(key);
    const unchanged = { key, modRevision: entry?.modRevision ?? 0 };
    if (entry === undefined) return { state: { number: 0, generation: 0, latestMs: 0 }, unchanged };
    try {
      return { state: schema.parse(JSON.parse(new TextDecoder().decode(entry.value))), unchanged };
    } catch (cause) {
      throw corrupt(key, cause);
    }
  }
}

function shardWrite(folder: string, { number, bytes }: CrlShard): Write {
  const key = folder + String(number).padStart(SHARD_DIGITS, "0");
  return bytes.length === 0 ? { type: "delete", key } : { type: "put", key, value: bytes };
}

/** Whether the bytes are whole DER elements of the short form, which all entries are. */
function isWhole(bytes: Uint8Array): boolean {
  let at = 0;
  while (at < bytes.length) at += 2 + (bytes[at + 1] ?? 0);
  return bytes.length > 0 && at === bytes.length;
}

function corrupt(key: string, cause?: unknown): RksError {
  return new RksError("STORAGE_CORRUPT", `the revocation list record "${key}" cannot be read`, {
    cause,
    suggestion: "Restore the data folder from a backup.",
  });
}
