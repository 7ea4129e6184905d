import { randomBytes } from "node:crypto";

import { type Clock, LinkedAbort, type Logger, RksError, silentLogger } from "@rk8s/protocol";

import { assertListRange, assertTransaction } from "../assert-request.js";
import { assertKey } from "../key.js";
import { storageClosed } from "../storage-errors.js";
import type {
  Change,
  Comparison,
  Entry,
  ListRange,
  Page,
  Storage,
  TransactionResult,
  Write,
} from "../storage.js";
import { removeAbandonedRecords } from "./abandoned-records.js";
import { Attempts } from "./attempts.js";
import { Budget } from "./budget.js";
import type { EtcdCredentials } from "./credentials.js";
import { EtcdFailure } from "./etcd-failure.js";
import { Keyspace } from "./keyspace.js";
import { type CredentialsTrial, Members } from "./members.js";
import { RANGE, type RangeAnswer, rangeRequest, TxnWriter } from "./messages.js";
import { ReadLine } from "./read-line.js";
import { TransactionLine } from "./transaction-line.js";
import { watchChanges } from "./watch-changes.js";

export interface EtcdStorageInit {
  /** The client addresses of the members, `https://host:port` each; `http://` on this machine only. */
  readonly endpoints: readonly string[];
  /** Under which all keys of this store are, without a slash at the end: `rk8s/blue`. */
  readonly prefix: string;
  /** Needed for `https://`. */
  readonly credentials?: EtcdCredentials | undefined;
  readonly clock: Clock;
  readonly logger?: Logger | undefined;
  /** For one request to one member. Default: 1500. */
  readonly attemptTimeoutMs?: number | undefined;
  /** For one operation with all that is tried again, time in the queue included. Default: 6000. */
  readonly operationTimeoutMs?: number | undefined;
  /** Whether to use members beyond `endpoints` that the cluster names. Default: true. */
  readonly learnMembers?: boolean | undefined;
}

export type { EtcdCredentials } from "./credentials.js";
export type { CredentialsTrial } from "./members.js";

/** A store in etcd, with what can change while it is open. */
export interface EtcdStorage extends Storage {
  /** The client addresses that are used now: those that were given, then those that the cluster itself has named. */
  readonly endpoints: readonly string[];
  /**
   * Connect with these credentials from now on; what is under way ends in peace. A member that does not take them keeps the
   * connection that it has, and is tried again; once that connection is lost there is no other with former credentials.
   * @throws {RksError} CONFIG_INVALID or CERTIFICATE_EXPIRED, and then nothing has changed.
   */
  useCredentials(credentials: EtcdCredentials): Promise<void>;
  /**
   * Ask every member one thing over a connection of its own with these credentials; nothing changes. Members without TLS
   * are left out. Gives why each failed; it is undefined where etcd answered.
   * @throws {RksError} CONFIG_INVALID, CERTIFICATE_EXPIRED.
   */
  tryCredentials(credentials: EtcdCredentials): Promise<readonly CredentialsTrial[]>;
}

const ATTEMPT_TIMEOUT_MS = 1500;
const OPERATION_TIMEOUT_MS = 6000;
/** How often the cluster is asked who its members are: a member may go this long after another one has come. */
const LEARN_MS = 5_000;

/** Errors that mean the same to whoever asked, whatever the store is. */
const OWN_CODES: ReadonlySet<string> = new Set([
  "BUSY",
  "CONFLICT",
  "INPUT_INVALID",
  "INTERNAL",
  "STORAGE_CORRUPT",
  "STORAGE_FULL",
  "UNAVAILABLE",
]);

/**
 * Open a store in an etcd cluster (v3 API, 3.4 or newer) under a prefix of its own. Reads are linearizable. Transactions are sent
 * one after the other, each durable on a majority before it resolves, and done once even when answers are lost.
 * A revision is etcd's: it also counts what others write.
 * @throws {RksError} CONFIG_INVALID; CERTIFICATE_EXPIRED; UNREACHABLE, TIMED_OUT, SERVER_UNTRUSTED, SERVER_NAME_MISMATCH,
 * CLIENT_CERTIFICATE_REFUSED, PERMISSION_DENIED or UNAVAILABLE when no member answers as it should, naming it. Once the
 * store is open all of these are UNAVAILABLE, because a request may come from afar, where they would mean something else.
 */
export async function openEtcdStorage(init: EtcdStorageInit): Promise<EtcdStorage> {
  const { clock, logger = silentLogger, endpoints, credentials } = init;
  const keyspace = new Keyspace(init.prefix);
  // Loading it takes a tenth of a second, which those who open no such store do not pay.
  const grpc = await import("@grpc/grpc-js");
  const range = keyspace.attemptRange();
  const members = new Members(
    { endpoints, credentials, prefix: init.prefix, range },
    { grpc, clock, logger },
  );
  const storage = new OpenEtcdStorage(init, keyspace, members, logger);
  try {
    await storage.prepare();
    return storage;
  } catch (reason) {
    members.close();
    throw reason instanceof EtcdFailure ? reason.error : reason;
  }
}

class OpenEtcdStorage implements EtcdStorage {
  readonly #init: EtcdStorageInit;
  readonly #logger: Logger;
  readonly #keyspace: Keyspace;
  readonly #members: Members;
  readonly #attempts: Attempts;
  readonly #line: TransactionLine;
  readonly #reads: ReadLine;
  /** Ends what goes on by itself. */
  readonly #end = new AbortController();
  #closed: RksError | undefined;
  #closing: Promise<void> | undefined;
  #learning: Promise<void> | undefined;

  constructor(init: EtcdStorageInit, keyspace: Keyspace, members: Members, logger: Logger) {
    this.#init = init;
    this.#logger = logger;
    this.#keyspace = keyspace;
    this.#members = members;
    const record = keyspace.attemptKey(randomBytes(8).toString("hex"));
    this.#attempts = new Attempts(record, members, init.clock);
    this.#line = new TransactionLine(this.#attempts, members, () => this.#budget());
    this.#reads = new ReadLine(members, () => this.#budget());
  }

  /** Read once, so that what is wrong is known before anybody relies on the store, and tidy up. */
  async prepare(): Promise<void> {
    await removeAbandonedRecords(this.#keyspace, this.#members, {
      nowMs: this.#init.clock.now(),
      budget: this.#budget(),
    });
    if (this.#init.learnMembers !== false) this.#learning = this.#learn();
  }

  /** The cluster may replace all its members while the store is open. */
  async #learn(): Promise<void> {
    const { clock } = this.#init;
    const { signal } = this.#end;
    while (!signal.aborted) {
      try {
        await this.#members.handOver(this.#budget());
        await this.#members.learn(this.#budget());
      } catch (reason) {
        this.#logger.debug("The store's members could not be asked for", { reason: String(reason) });
      }
      await clock.sleep(LEARN_MS, { signal, background: true }).catch(() => undefined);
    }
  }

  get endpoints(): readonly string[] {
    return this.#members.urls;
  }

  async useCredentials(credentials: EtcdCredentials): Promise<void> {
    this.#assertOpen();
    await this.#members.useCredentials(credentials, this.#budget());
  }

  async tryCredentials(credentials: EtcdCredentials): Promise<readonly CredentialsTrial[]> {
    this.#assertOpen();
    return this.#members.tryCredentials(credentials, this.#budget());
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#ask(async () => {
      assertKey(key);
      const found = await this.#reads.get(this.#keyspace.encode(key));
      return found === undefined ? undefined : this.#keyspace.entry(found);
    });
  }

  list(prefix: string, options?: ListRange): Promise<Page> {
    return this.#ask(async () => {
      const { after, limit } = assertListRange(prefix, options);
      const { entries, more, revision } = await this.#range(prefix, after, limit);
      return { entries: entries.map((one) => this.#keyspace.entry(one)), more, revision };
    });
  }

  transaction(comparisons: readonly Comparison[], writes: readonly Write[]): Promise<TransactionResult> {
    return this.#ask(() => {
      assertTransaction(comparisons, writes);
      return this.#line.add(this.#encode(comparisons, writes), writes.length > 0);
    });
  }

  async *watch(
    prefix: string,
    fromRevision: number,
    options: { readonly signal: AbortSignal },
  ): AsyncGenerator<Change, void, void> {
    this.#assertOpen();
    const range = this.#keyspace.range(prefix, "");
    const watch = { range, fromRevision, newBudget: () => this.#budget() };
    using life = new LinkedAbort(options.signal, this.#end.signal);
    const { clock } = this.#init;
    const ports = { members: this.#members, clock, logger: this.#logger, signal: life.signal };
    for await (const { isDelete, entry } of watchChanges(watch, ports)) {
      const { key, value, modRevision } = this.#keyspace.entry(entry);
      yield { key, value: isDelete ? undefined : value, revision: modRevision };
    }
    if (!options.signal.aborted) this.#assertOpen();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed = storageClosed();
    this.#end.abort();
    await this.#line.idle();
    await this.#learning;
    const { clock } = this.#init;
    await this.#attempts.end(new Budget(clock, 500, 500)).catch(() => undefined);
    this.#members.close();
  }

  /** A page whose values are too large to be read at once becomes a shorter one. */
  async #range(prefix: string, after: string, limit: number): Promise<RangeAnswer> {
    const range = this.#keyspace.range(prefix, after);
    const budget = this.#budget();
    for (let size = limit; ; size = Math.ceil(size / 4)) {
      try {
        return await this.#members.repeatedly(RANGE, rangeRequest(range, { limit: size }).finish(), budget);
      } catch (reason) {
        if (!(reason instanceof EtcdFailure) || reason.kind !== "too-large" || size === 1) throw reason;
      }
    }
  }

  /** What waits for its turn must not change with the caller's bytes, so it is encoded at once. */
  #encode(comparisons: readonly Comparison[], writes: readonly Write[]): Buffer {
    const request = new TxnWriter();
    for (const { key, modRevision } of comparisons) request.compare(this.#keyspace.encode(key), modRevision);
    for (const write of writes) {
      const key = this.#keyspace.encode(write.key);
      if (write.type === "put") request.put(key, write.value);
      else request.delete(key);
    }
    return request.finish();
  }

  async #ask<T>(action: () => Promise<T>): Promise<T> {
    this.#assertOpen();
    try {
      return await action();
    } catch (reason) {
      throw storageError(reason);
    }
  }

  #budget(): Budget {
    const { clock, attemptTimeoutMs, operationTimeoutMs } = this.#init;
    return new Budget(
      clock,
      attemptTimeoutMs ?? ATTEMPT_TIMEOUT_MS,
      operationTimeoutMs ?? OPERATION_TIMEOUT_MS,
    );
  }

  #assertOpen(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }
}

function storageError(reason: unknown): unknown {
  const error = reason instanceof EtcdFailure ? reason.error : reason;
  if (!(error instanceof RksError) || OWN_CODES.has(error.code)) return error;
  return new RksError("UNAVAILABLE", error.message, { suggestion: error.suggestion, cause: error });
}
