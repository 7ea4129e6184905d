import { randomBytes } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import type { Clock, Logger } from "@rk8s/protocol";
import { type Comparison, pagesOf, type Storage, type Write } from "@rk8s/storage";

import type { LeaseGrant } from "../backend.js";
import { type Due, type DuePage, type Expiring, readDue } from "./expiry-index.js";
import { leaseBusy, noLease, notRenewable, tokenGone, tookTooLong } from "./lease-errors.js";
import { decodeLease, encodeLease, type LeaseEntry } from "./lease-entry.js";
import {
  LEASE_EXPIRY_PREFIX,
  LEASE_PREFIX,
  leaseExpiryKey,
  leaseKey,
  TOKEN_LEASE_PREFIX,
  tokenLeaseKey,
  tokenOfLeaseId,
} from "./lease-keys.js";

const ID_BYTES = 18;
/** Keys of the store are at most 1024 bytes long, and the index puts a token's hash before it. */
const MAX_LEASE_ID_BYTES = 900;
const MAX_CONFLICTS = 50;
const EMPTY = new Uint8Array(0);
/** Where a lease that is to be undone stands in the index by time: first. */
const AT_ONCE_MS = 0;
const PAGE = 100;
/** Leases marked in one transaction. */
const MARKED_AT_ONCE = 30;
const FIRST_RETRY_MS = 5_000;
const MAX_RETRY_MS = 3_600_000;
/** No backend takes longer to undo something; what does counts as failed. */
const REVOCATION_DEADLINE_MS = 30_000;

export interface LeaseStorePorts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  /**
   * Undo what a lease stands for at the mount with this accessor. There no more: nothing is left to undo.
   * @throws when it could not be undone.
   */
  readonly undo: (mountAccessor: string, internal: LeaseEntry["internal"]) => Promise<void>;
  /** Told when something is due at a time. */
  readonly onExpiry: (dueAtMs: number) => void;
}

export interface NewLease {
  /** Of the request. */
  readonly path: string;
  readonly mountAccessor: string;
  readonly grant: LeaseGrant;
  /** Hash of the token that it ends with. */
  readonly token: string | undefined;
  /** What must be so that it may be kept: that the token is there. */
  readonly comparison: () => Promise<readonly Comparison[] | undefined>;
}

/** A lease that is kept. */
export interface Lease {
  readonly id: string;
  readonly entry: LeaseEntry;
}

/**
 * Leases in the barrier: what was given out for a time and has to be undone then. An index by time finds what is due
 * without a look at the rest. What could not be undone is tried again, ever more seldom, for as long as it takes.
 */
export class LeaseStore implements Expiring {
  readonly #storage: Storage;
  readonly #ports: LeaseStorePorts;
  /** Revocations under way, so that two of the same lease are one. */
  readonly #revoking = new Map<string, Promise<Failure | undefined>>();

  constructor(storage: Storage, ports: LeaseStorePorts) {
    this.#storage = storage;
    this.#ports = ports;
  }

  /**
   * Keep a lease.
   * @throws {RksError} PERMISSION_DENIED when the token is gone; then, and when the store fails, what was given out is undone.
   */
  async register(lease: NewLease): Promise<Lease> {
    try {
      return await this.#register(lease);
    } catch (reason) {
      await this.#undo(lease.mountAccessor, lease.grant.internal).catch((error: unknown) => {
        this.#ports.logger.error("Secret without a lease could not be revoked", {
          path: lease.path,
          error: RksError.from(error).message,
        });
      });
      throw reason;
    }
  }

  /** A lease that has not ended. */
  async find(id: string): Promise<Lease | undefined> {
    const stored = await this.#read(id);
    if (stored === undefined || stored.entry.revoking) return undefined;
    return stored.entry.expiresAtMs <= this.#ports.clock.now() ? undefined : { id, entry: stored.entry };
  }

  /**
   * Let a lease last for `incrementSeconds` from now, 0: for as long as at first; its longest time is not exceeded.
   * @throws {RksError} INPUT_INVALID when there is none or it is not renewable.
   */
  async renew(id: string, incrementSeconds: number): Promise<Lease> {
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const stored = await this.#read(id);
      const nowMs = this.#ports.clock.now();
      if (stored === undefined || stored.entry.revoking || stored.entry.expiresAtMs <= nowMs) {
        throw noLease(id);
      }
      if (!stored.entry.renewable) throw notRenewable(id);
      const { entry } = stored;
      const seconds = incrementSeconds === 0 ? entry.ttlSeconds : incrementSeconds;
      const lastMs = entry.issuedAtMs + entry.maxTtlSeconds * 1000;
      const expiresAtMs = Math.min(nowMs + seconds * 1000, lastMs);
      const renewed = { ...entry, expiresAtMs, dueAtMs: expiresAtMs, renewedAtMs: nowMs };
      if (!(await this.#swap(id, stored, renewed))) continue;
      this.#ports.onExpiry(expiresAtMs);
      return { id, entry: renewed };
    }
    throw leaseBusy(id);
  }

  /**
   * End a lease and undo what it stands for. Not there: nothing happens. From its first write on the lease is over, and
   * will be undone however often that fails.
   * @throws what the backend fails with.
   */
  async revoke(id: string): Promise<void> {
    const stored = await this.#mark(id);
    const failure = stored === undefined ? undefined : await this.#finish(id);
    if (failure !== undefined) throw failure.reason;
  }

  /** Forget a lease, whether it can be undone or not. */
  async forget(id: string): Promise<void> {
    const stored = await this.#mark(id);
    if (stored === undefined) return;
    const failure = await this.#finish(id);
    if (failure === undefined) return;
    this.#ports.logger.warn("Lease is forgotten, though it could not be revoked", { lease: id });
    await this.#delete(id);
  }

  /** End all leases of a token; they are undone in the background. */
  async endOfToken(token: string): Promise<void> {
    const prefix = `${TOKEN_LEASE_PREFIX}${token}/`;
    for await (const entries of pagesOf(this.#storage, prefix, { limit: PAGE })) {
      await this.#markAll(entries.map(({ key }) => key.slice(prefix.length)));
    }
  }

  /** The ids of what begins with `prefix`, leases and tokens, a page at a time. */
  async *ids(prefix: string): AsyncGenerator<readonly string[], void, void> {
    for await (const entries of pagesOf(this.#storage, LEASE_PREFIX + prefix, { limit: PAGE })) {
      yield entries.map(({ key }) => key.slice(LEASE_PREFIX.length));
    }
  }

  /** End leases; they are undone in the background. */
  async end(ids: readonly string[]): Promise<void> {
    await this.#markAll(ids);
  }

  due(after: string | undefined): Promise<DuePage> {
    return readDue(this.#storage, LEASE_EXPIRY_PREFIX, { nowMs: this.#ports.clock.now(), after });
  }

  /** What cannot be undone is tried again later: this fails only when the store does. */
  async expire({ key, dueAtMs, id }: Due): Promise<void> {
    const stored = await this.#read(id);
    if (stored?.entry.dueAtMs !== dueAtMs) {
      // What was renewed meanwhile stands elsewhere in the index.
      await this.#storage.transaction([], [{ type: "delete", key }]);
      return;
    }
    if (!stored.entry.revoking) await this.#mark(id);
    await this.#finish(id);
  }

  /** Delete index entries of leases that are not there, as a damaged or older store may have. Gives how many. */
  async tidy(signal: AbortSignal): Promise<number> {
    let removed = 0;
    for (const prefix of [LEASE_EXPIRY_PREFIX, TOKEN_LEASE_PREFIX]) {
      for await (const entries of pagesOf(this.#storage, prefix, { limit: PAGE })) {
        for (const { key, modRevision } of entries) {
          signal.throwIfAborted();
          const id = key.slice(key.indexOf("/", prefix.length) + 1);
          if ((await this.#storage.get(leaseKey(id))) !== undefined) continue;
          const absent = { key: leaseKey(id), modRevision: 0 };
          await this.#storage.transaction([absent, { key, modRevision }], [{ type: "delete", key }]);
          removed += 1;
        }
      }
    }
    return removed;
  }

  async #register({ path, mountAccessor, grant, token, comparison }: NewLease): Promise<Lease> {
    const nowMs = this.#ports.clock.now();
    const id = `${path}/${randomBytes(ID_BYTES).toString("base64url")}`;
    if (Buffer.byteLength(id) > MAX_LEASE_ID_BYTES) {
      throw new RksError("INPUT_INVALID", `the path "${path.slice(0, 80)}" is too long for a lease`, {
        suggestion: "Use shorter names.",
      });
    }
    const expiresAtMs = nowMs + grant.ttlSeconds * 1000;
    const entry: LeaseEntry = {
      version: 1,
      mountAccessor,
      issuedAtMs: nowMs,
      expiresAtMs,
      dueAtMs: expiresAtMs,
      ttlSeconds: grant.ttlSeconds,
      maxTtlSeconds: Math.max(grant.maxTtlSeconds, grant.ttlSeconds),
      renewable: grant.renewable,
      revoking: false,
      failures: 0,
      internal: grant.internal,
      ...(token === undefined ? {} : { token }),
    };
    const writes: Write[] = [
      { type: "put", key: leaseKey(id), value: encodeLease(entry) },
      { type: "put", key: leaseExpiryKey(expiresAtMs, id), value: EMPTY },
    ];
    if (token !== undefined) writes.push({ type: "put", key: tokenLeaseKey(token, id), value: EMPTY });
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const comparisons = await comparison();
      if (comparisons === undefined) throw tokenGone();
      const { succeeded } = await this.#storage.transaction(comparisons, writes);
      if (!succeeded) continue;
      this.#ports.onExpiry(expiresAtMs);
      return { id, entry };
    }
    throw leaseBusy(path);
  }

  async #read(id: string): Promise<Stored | undefined> {
    if (tokenOfLeaseId(id) !== undefined || Buffer.byteLength(id) > MAX_LEASE_ID_BYTES) return undefined;
    const stored = await this.#storage.get(leaseKey(id));
    return stored === undefined
      ? undefined
      : { modRevision: stored.modRevision, entry: decodeLease(stored.value) };
  }

  /** Make a lease end; it is first in line to be undone. */
  async #mark(id: string): Promise<LeaseEntry | undefined> {
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const stored = await this.#read(id);
      if (stored === undefined || stored.entry.revoking) return stored?.entry;
      const marked = { ...stored.entry, revoking: true, dueAtMs: AT_ONCE_MS };
      if (await this.#swap(id, stored, marked)) return marked;
    }
    throw leaseBusy(id);
  }

  async #markAll(ids: readonly string[]): Promise<void> {
    for (let start = 0; start < ids.length; start += MARKED_AT_ONCE) {
      const some = ids.slice(start, start + MARKED_AT_ONCE);
      const read = await Promise.all(some.map(async (id) => ({ id, stored: await this.#read(id) })));
      const changes = read.flatMap(({ id, stored }) =>
        stored === undefined || stored.entry.revoking
          ? []
          : [{ id, stored, entry: { ...stored.entry, revoking: true, dueAtMs: AT_ONCE_MS } }],
      );
      if (changes.length === 0) continue;
      const { succeeded } = await this.#storage.transaction(
        changes.map(({ id, stored }) => ({ key: leaseKey(id), modRevision: stored.modRevision })),
        changes.flatMap(({ id, stored, entry }) => swapWrites(id, stored.entry, entry)),
      );
      if (!succeeded) for (const { id } of changes) await this.#mark(id);
    }
    if (ids.length > 0) this.#ports.onExpiry(AT_ONCE_MS);
  }

  /** Undo what has ended; what could not be undone stays for later, and is told of. */
  #finish(id: string): Promise<Failure | undefined> {
    const running = this.#revoking.get(id);
    if (running !== undefined) return running;
    const run = this.#finishOnce(id).finally(() => this.#revoking.delete(id));
    this.#revoking.set(id, run);
    return run;
  }

  async #finishOnce(id: string): Promise<Failure | undefined> {
    const stored = await this.#read(id);
    if (stored === undefined) return undefined;
    try {
      await this.#undo(stored.entry.mountAccessor, stored.entry.internal);
    } catch (reason) {
      await this.#postpone(id, stored, reason);
      return { reason };
    }
    await this.#delete(id);
    return undefined;
  }

  async #undo(mountAccessor: string, internal: LeaseEntry["internal"]): Promise<void> {
    const done = new AbortController();
    const late = this.#ports.clock
      .sleep(REVOCATION_DEADLINE_MS, { signal: done.signal })
      .then(() => Promise.reject(tookTooLong(REVOCATION_DEADLINE_MS)));
    try {
      await Promise.race([this.#ports.undo(mountAccessor, internal), late]);
    } finally {
      done.abort();
      await late.catch(() => undefined);
    }
  }

  async #postpone(id: string, stored: Stored, reason: unknown): Promise<void> {
    const { clock, logger, random, onExpiry } = this.#ports;
    const failures = stored.entry.failures + 1;
    const pauseMs = Math.min(FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 20), MAX_RETRY_MS);
    const dueAtMs = clock.now() + Math.ceil(pauseMs * (0.75 + random() / 2));
    logger.warn("Lease could not be revoked", {
      lease: id,
      failures,
      retryInMs: pauseMs,
      error: RksError.from(reason).message,
    });
    await this.#swap(id, stored, { ...stored.entry, failures, dueAtMs });
    onExpiry(dueAtMs);
  }

  async #swap(id: string, stored: Stored, entry: LeaseEntry): Promise<boolean> {
    const { succeeded } = await this.#storage.transaction(
      [{ key: leaseKey(id), modRevision: stored.modRevision }],
      swapWrites(id, stored.entry, entry),
    );
    return succeeded;
  }

  async #delete(id: string): Promise<void> {
    const stored = await this.#read(id);
    if (stored === undefined) return;
    const { dueAtMs, token } = stored.entry;
    const keys = [leaseKey(id), leaseExpiryKey(dueAtMs, id)];
    if (token !== undefined) keys.push(tokenLeaseKey(token, id));
    await this.#storage.transaction(
      [],
      keys.map((key) => ({ type: "delete", key })),
    );
  }
}

/** Why something could not be undone. */
interface Failure {
  readonly reason: unknown;
}

interface Stored {
  readonly modRevision: number;
  readonly entry: LeaseEntry;
}

function swapWrites(id: string, from: LeaseEntry, to: LeaseEntry): Write[] {
  const put: Write = { type: "put", key: leaseKey(id), value: encodeLease(to) };
  if (from.dueAtMs === to.dueAtMs) return [put];
  return [
    put,
    { type: "delete", key: leaseExpiryKey(from.dueAtMs, id) },
    { type: "put", key: leaseExpiryKey(to.dueAtMs, id), value: EMPTY },
  ];
}
