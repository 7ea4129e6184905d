import { RksError } from "@rk8s/protocol";
import type { Storage, Write } from "@rk8s/storage";
import { Serial } from "../../vault/serial.js";
import { ExpiryIndex } from "../certificate/expiry-index.js";
import {
  appendEntries,
  type CrlEntries,
  crlEntries,
  crlEntryOf,
  type CrlShard,
  removeEntries,
} from "./crl-entries.js";
import { type CrlNumber, CrlRecords } from "./crl-records.js";
import { decodeRevokedRecord, encodeRevokedRecord, type RevokedRecord } from "./revoked-record.js";

/** What is to be revoked. */
export interface Revocation extends Pick<
  RevokedRecord,
  "serialNumber" | "notAfterMs" | "crlId" | "issuerId"
> {
  /** Milliseconds; used when it is not revoked yet. */
  readonly nowMs: number;
  /** Committed with it, two at most: a certificate that is imported. */
  readonly writes?: readonly Write[];
}

interface Waiting {
  readonly revocation: Revocation;
  resolve(record: RevokedRecord): void;
  reject(error: unknown): void;
}

const REVOKED = "revoked/";
const REVOKED_BY_END = "revoked-expiry/";
/** Written with every change, and compared: the entries in memory are those that are stored. */
const STAMP = "revoked-stamp";
/** Revocations that share one transaction: at most six writes each, of 127. */
const MAX_GROUP = 20;
/** Removals that share one transaction, with the writes that belong to them. */
const MAX_REMOVED = 20;
const MAX_WAITING = 10_000;
/** Times that a change is made again because another process was faster. */
const MAX_ATTEMPTS = 8;

/**
 * What a mount revoked: a record of each certificate, an index of them by end, and the entries of each certificate
 * revocation list, ready to be signed. A revocation is one transaction; those that come at the same time share it. The
 * entries of a list are read when they are needed first and stay in memory until `close`.
 */
export class RevocationStore {
  readonly #storage: Storage;
  readonly #folder: string;
  readonly #stamp: string;
  readonly #byEnd: ExpiryIndex;
  readonly #lists: CrlRecords;
  readonly #changes = new Serial();
  readonly #waiting: Waiting[] = [];
  #flushing = false;
  #closed = false;
  #version = 0;
  #entries = new Map<string, CrlEntries>();
  /** Of the stamp, read before any of the entries. */
  #stampRevision: number | undefined;
  /** What it was when the change that is being made began. */
  #unchanged = 0;

  constructor(storage: Storage, prefix: string) {
    this.#storage = storage;
    this.#folder = prefix + REVOKED;
    this.#stamp = prefix + STAMP;
    this.#byEnd = new ExpiryIndex(storage, prefix + REVOKED_BY_END);
    this.#lists = new CrlRecords(storage, prefix);
  }

  /** Revoked certificates by their end. */
  get byEnd(): ExpiryIndex {
    return this.#byEnd;
  }

  /** @throws {RksError} STORAGE_CORRUPT. */
  async find(serialNumber: string): Promise<RevokedRecord | undefined> {
    const entry = await this.#storage.get(this.#folder + serialNumber);
    return entry === undefined ? undefined : decodeRevokedRecord(serialNumber, entry.value, entry.key);
  }

  /** Records in the order of their serial numbers' digits. @throws {RksError} STORAGE_CORRUPT. */
  async list(
    range: { readonly after?: string; readonly limit?: number } = {},
  ): Promise<{ readonly records: readonly RevokedRecord[]; readonly more: boolean }> {
    const { after, limit } = range;
    const page = await this.#storage.list(this.#folder, {
      ...(after === undefined ? {} : { after: this.#folder + after }),
      ...(limit === undefined ? {} : { limit }),
    });
    const records = page.entries.map(({ key, value }) =>
      decodeRevokedRecord(key.slice(this.#folder.length), value, key),
    );
    return { records, more: page.more };
  }

  /**
   * Revoke a certificate; one that is revoked already stays as it is. Durable, and in what `entriesOf` gives, when it
   * resolves.
   * @throws {RksError} BUSY when too many wait; what the storage throws, and then nothing is revoked.
   */
  revoke(revocation: Revocation): Promise<RevokedRecord> {
    if (this.#waiting.length >= MAX_WAITING) {
      throw new RksError("BUSY", `${this.#waiting.length} revocations wait already`, {
        suggestion: "Try again in a moment.",
      });
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ revocation, resolve, reject });
      if (this.#flushing) return;
      this.#flushing = true;
      void this.#flush();
    });
  }

  /** The entries of a list as they are now. @throws {RksError} STORAGE_CORRUPT when they cannot be made good. */
  entriesOf(crlId: string): Promise<CrlEntries> {
    const known = this.#entries.get(crlId);
    return known === undefined ? this.#inTurn(() => this.#load(crlId)) : Promise.resolve(known);
  }

  /** Another process has changed what is revoked: read it again. */
  forget(): void {
    this.#entries = new Map();
    this.#stampRevision = undefined;
  }

  /** Take the next number of a list, which is signed at a time: it is durable when this resolves and never given again. */
  nextNumber(crlId: string, signedMs: number): Promise<CrlNumber> {
    return this.#inTurn(() => this.#lists.nextNumber(crlId, signedMs));
  }

  /**
   * Forget revoked certificates, and take them out of their lists; `writesFor` says what belongs to each besides, two
   * writes at most. What is not revoked is passed over. At most `MAX_REMOVED` of them are one transaction.
   * @returns how many were there.
   */
  async remove(
    serialNumbers: readonly string[],
    writesFor: (serialNumber: string) => readonly Write[] | Promise<readonly Write[]> = () => [],
  ): Promise<number> {
    let removed = 0;
    for (let at = 0; at < serialNumbers.length; at += MAX_REMOVED) {
      const part = serialNumbers.slice(at, at + MAX_REMOVED);
      removed += await this.#inTurn(() => this.#remove(part, writesFor));
    }
    return removed;
  }

  /** Put revoked certificates that were in no list into one; `crlIdOf` finds it. @returns how many found theirs. */
  async assign(
    records: readonly RevokedRecord[],
    crlIdOf: (record: RevokedRecord) => Promise<Pick<RevokedRecord, "crlId" | "issuerId"> | undefined>,
  ): Promise<number> {
    let assigned = 0;
    for (const record of records) {
      const found = record.crlId === "" ? await crlIdOf(record) : undefined;
      if (found === undefined) continue;
      await this.#inTurn(async () => {
        if ((await this.find(record.serialNumber))?.crlId !== "") return;
        const list = await this.#load(found.crlId);
        const { entries, changed, placed } = appendEntries(list, [crlEntryOf(record)], this.#nextVersion());
        const put = this.#put({ ...record, ...found, shard: placed[0] ?? 0 });
        const writes = [put, ...(await this.#lists.writes(found.crlId, changed))];
        await this.#write(writes, new Map([[found.crlId, entries]]));
        assigned += 1;
      });
    }
    return assigned;
  }

  /**
   * Refuse every further change, wait for the one that is being made, and drop what is in memory; to be called when the
   * vault is sealed, and before the mount is opened again: two stores would write over each other's lists.
   */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#changes.run(() => Promise.resolve());
    this.forget();
  }

  /** Run a change after those before it, unless the store is closed by then. */
  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    return this.#changes.run(async () => {
      for (let attempt = 1; ; attempt += 1) {
        if (this.#closed) {
          throw new RksError("UNAVAILABLE", "the mount is being closed", {
            suggestion: "Try again in a moment.",
          });
        }
        try {
          this.#unchanged = await this.#readStamp();
          return await change();
        } catch (error) {
          // Another process was faster: what is in memory was forgotten.
          if (RksError.from(error).code !== "CONFLICT" || attempt === MAX_ATTEMPTS) throw error;
        }
      }
    });
  }

  async #flush(): Promise<void> {
    for (;;) {
      const group = this.#waiting.splice(0, MAX_GROUP);
      if (group.length === 0) break;
      try {
        const records = await this.#inTurn(() => this.#commit(group.map(({ revocation }) => revocation)));
        for (const [index, record] of records.entries()) group[index]?.resolve(record);
      } catch (error) {
        for (const waiting of group) waiting.reject(error);
      }
    }
    this.#flushing = false;
  }

  async #commit(revocations: readonly Revocation[]): Promise<readonly RevokedRecord[]> {
    const known = new Map<string, RevokedRecord>();
    const added: Revocation[] = [];
    for (const revocation of revocations) {
      const { serialNumber } = revocation;
      if (known.has(serialNumber)) continue;
      const existing = await this.find(serialNumber);
      if (existing === undefined) added.push(revocation);
      known.set(serialNumber, existing ?? recordOf(revocation));
    }
    const writes: Write[] = [];
    const lists = new Map<string, CrlEntries>();
    for (const crlId of new Set(added.map((revocation) => revocation.crlId))) {
      const records = added.filter((revocation) => revocation.crlId === crlId).map(recordOf);
      let shards: readonly number[] = [];
      if (crlId !== "") {
        const { entries, changed, placed } = appendEntries(
          await this.#load(crlId),
          records.map(crlEntryOf),
          this.#nextVersion(),
        );
        shards = placed;
        lists.set(crlId, entries);
        writes.push(...(await this.#lists.writes(crlId, changed)));
      }
      for (const [index, record] of records.entries()) {
        const placed = { ...record, shard: shards[index] ?? 0 };
        known.set(record.serialNumber, placed);
        writes.push(this.#put(placed), this.#byEnd.put(record));
      }
    }
    writes.push(...added.flatMap((revocation) => revocation.writes ?? []));
    await this.#write(writes, lists);
    return revocations.map((revocation) => known.get(revocation.serialNumber) ?? recordOf(revocation));
  }

  async #remove(
    serialNumbers: readonly string[],
    writesFor: (serialNumber: string) => readonly Write[] | Promise<readonly Write[]>,
  ): Promise<number> {
    const records: RevokedRecord[] = [];
    const writes: Write[] = [];
    for (const serialNumber of serialNumbers) {
      const record = await this.find(serialNumber);
      if (record === undefined) continue;
      records.push(record);
      writes.push({ type: "delete", key: this.#folder + serialNumber }, this.#byEnd.delete(record));
      writes.push(...(await writesFor(serialNumber)));
    }
    const lists = new Map<string, CrlEntries>();
    for (const crlId of new Set(records.map((record) => record.crlId))) {
      if (crlId === "") continue;
      const own = records.filter((record) => record.crlId === crlId);
      const { entries, changed } = removeEntries(await this.#load(crlId), own, this.#nextVersion());
      lists.set(crlId, entries);
      writes.push(...(await this.#lists.writes(crlId, changed)));
    }
    await this.#write(writes, lists);
    return records.length;
  }

  /** Only within `#changes`. */
  async #load(crlId: string): Promise<CrlEntries> {
    const known = this.#entries.get(crlId);
    if (known !== undefined) return known;
    const entries = crlEntries(await this.#readShards(crlId), this.#nextVersion());
    this.#remember(crlId, entries);
    return entries;
  }

  /** Read a list's entries; when they are damaged, make them again from the records. */
  async #readShards(crlId: string): Promise<readonly CrlShard[]> {
    try {
      return await this.#lists.read(crlId);
    } catch (error) {
      if (RksError.from(error).code !== "STORAGE_CORRUPT") throw error;
      const records: RevokedRecord[] = [];
      for (let after: string | undefined, more = true; more;) {
        const page = await this.list(after === undefined ? {} : { after });
        records.push(...page.records.filter((record) => record.crlId === crlId));
        after = page.records.at(-1)?.serialNumber;
        more = page.more && after !== undefined;
      }
      const inOrder = records.toSorted((a, b) => a.revokedAtMs - b.revokedAtMs);
      const { entries } = appendEntries(crlEntries([], 0), inOrder.map(crlEntryOf), 0);
      await this.#lists.replace(crlId, entries.shards);
      return entries.shards;
    }
  }

  /** Commit, and let the lists be what they are then. */
  async #write(writes: readonly Write[], lists: ReadonlyMap<string, CrlEntries>): Promise<void> {
    if (writes.length === 0) return;
    const unchanged = { key: this.#stamp, modRevision: this.#unchanged };
    const stamp: Write = { type: "put", key: this.#stamp, value: new Uint8Array() };
    let isCommitted = false;
    try {
      const { succeeded, revision } = await this.#storage.transaction([unchanged], [...writes, stamp]);
      isCommitted = succeeded;
      this.#stampRevision = revision;
    } finally {
      // Whatever became of it: the store knows.
      if (!isCommitted) this.forget();
    }
    if (!isCommitted) {
      throw new RksError("CONFLICT", "other processes revoke certificates of this mount at this moment", {
        suggestion: "Try again.",
      });
    }
    for (const [crlId, entries] of lists) this.#remember(crlId, entries);
  }

  async #readStamp(): Promise<number> {
    this.#stampRevision ??= (await this.#storage.get(this.#stamp))?.modRevision ?? 0;
    return this.#stampRevision;
  }

  #nextVersion(): number {
    this.#version += 1;
    return this.#version;
  }

  #remember(crlId: string, entries: CrlEntries): void {
    this.#entries.set(crlId, entries);
  }

  #put(record: RevokedRecord): Write {
    return { type: "put", key: this.#folder + record.serialNumber, value: encodeRevokedRecord(record) };
  }
}

function recordOf({ serialNumber, notAfterMs, crlId, issuerId, nowMs }: Revocation): RevokedRecord {
  return { serialNumber, revokedAtMs: nowMs, notAfterMs, crlId, shard: 0, issuerId };
}
