import { randomUUID } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import type { Logger } from "@rk8s/protocol";
import { deletePrefix, type Storage } from "@rk8s/storage";

import type { Backend, BackendFactory } from "../backend.js";
import type { Changes } from "../members/changes.js";
import { ALONE, type Stewardship } from "../members/stewardship.js";
import { Serial } from "../serial.js";
import {
  builtInMount,
  engineMissing,
  mountBusy,
  moveRefused,
  noMount,
  pathInUse,
  reservedMount,
  tooManyMounts,
  unknownType,
} from "./mount-errors.js";
import { isAuthPath, looksLike, mountPath, overlaps } from "./mount-path.js";
import {
  effectiveTtls,
  mountInit,
  newMountEntry,
  STORAGE_PREFIX,
  storagePrefix,
  tuned,
} from "./mount-settings.js";
import type { MountOptions, MountTuning } from "./mount-settings.js";
import { assertTableSize, readMountTable, TABLE_KEY, writeMountTable } from "./mount-table.js";
import type { MountEntry, StoredMounts } from "./mount-table.js";

/** Moves whose outcome is remembered; they are over when they are answered. */
const MAX_MOVES = 64;
/** Each has a backend in memory; built-in ones count. */
const MAX_MOUNTS = 256;

/** A mount that is there, with the backend behind it or the reason why there is none. */
interface Mounted {
  readonly entry: MountEntry;
  readonly backend: Backend | RksError;
}

/** A mount that every vault has. */
export interface BuiltInMount {
  /** With trailing slash. */
  readonly path: string;
  readonly type: string;
  readonly description: string;
  readonly factory: BackendFactory;
  /** Whether callers may tune it. Nobody mounts over it, moves or unmounts it. */
  readonly tunable?: boolean;
}

export interface MountsInit {
  readonly storage: Storage;
  /** What callers can mount, by type: secrets engines, and login methods for below `auth/`. */
  readonly engines: Readonly<Record<string, BackendFactory>>;
  readonly loginMethods: Readonly<Record<string, BackendFactory>>;
  /** The vault's own, which may look at the mounts once those are open. */
  readonly builtIn: (mounts: () => Mounts) => readonly BuiltInMount[];
  /** With trailing slash; only `enableReserved` mounts there, and nobody moves, unmounts or tunes it. */
  readonly reserved: readonly string[];
  readonly logger: Logger;
  /** For what backends do by themselves. Default: this process has the store for itself. */
  readonly stewardship?: Stewardship;
  /**
   * Revoke every lease and token of a mount that is being unmounted or moved. Requests do not reach the mount any more;
   * its backend, where it could be made, is handed over. When it fails the mount stays: an unmounting can be asked for
   * again and is tried again at the next unseal. It must be possible twice.
   */
  readonly revokeAll?: (mount: MountEntry, backend: Backend | undefined) => Promise<void>;
}

/** A move of a mount that is over. */
export interface MountMove {
  readonly id: string;
  readonly from: string;
  readonly to: string;
}

/**
 * The engines mounted in an unsealed vault. A backend that cannot be made does not keep the vault from being unsealed:
 * its mount answers every request with the reason.
 */
export class Mounts implements AsyncDisposable {
  readonly #init: MountsInit;
  readonly #builtIn: readonly BuiltInMount[];
  readonly #mounted = new Map<string, Mounted>();
  /** Unmounted, but not everything of them is gone; by uuid. */
  readonly #removing = new Map<string, MountEntry>();
  readonly #moves = new Map<string, MountMove>();
  readonly #changes = new Serial();
  /** Mounts whose backend is about to be made again. */
  readonly #retried = new Set<string>();
  /** Of the table, as this process knows it. */
  #tableRevision = 0;

  private constructor(init: MountsInit) {
    this.#init = init;
    this.#builtIn = init.builtIn(() => this);
  }

  /** Make the backends of all mounts, and finish what a crash interrupted. */
  static async open(init: MountsInit): Promise<Mounts> {
    const mounts = new Mounts(init);
    try {
      const table = await tableWithBuiltIn(init.storage, mounts.#builtIn);
      mounts.#tableRevision = table.modRevision;
      for (const entry of table.mounts) {
        if (entry.removing) mounts.#removing.set(entry.uuid, entry);
        else mounts.#mounted.set(entry.path, { entry, backend: await mounts.#makeBackend(entry) });
      }
      for (const entry of [...mounts.#removing.values()]) await mounts.#finishLater(entry);
    } catch (reason) {
      await mounts[Symbol.asyncDispose]();
      throw reason;
    }
    return mounts;
  }

  /** Do as other processes do: mount and unmount what they have, and let backends forget what others wrote to them. */
  follow(changes: Changes): void {
    changes.on(TABLE_KEY, () => this.#followLater(() => this.#followTable()));
    changes.on(STORAGE_PREFIX, (key) => this.#heard(key));
    changes.onGap(() =>
      this.#followLater(async () => {
        await this.#followTable();
        for (const { entry, backend } of [...this.#mounted.values()]) {
          const isSure = !(backend instanceof RksError) && backend.heard === undefined;
          if (!isSure) await this.#replaceBackend(entry, backend);
        }
      }),
    );
  }

  /** Mounts by path. */
  list(): readonly MountEntry[] {
    return [...this.#mounted.values()]
      .map(({ entry }) => entry)
      .toSorted((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** The engines that could be opened. */
  backends(): readonly { readonly entry: MountEntry; readonly backend: Backend }[] {
    return [...this.#mounted.values()].flatMap(({ entry, backend }) =>
      backend instanceof RksError ? [] : [{ entry, backend }],
    );
  }

  /** The mount at exactly this path. @throws {RksError} INPUT_INVALID when it cannot be a mount's path. */
  find(path: string): MountEntry | undefined {
    return this.#mounted.get(mountPath(path))?.entry;
  }

  /**
   * The mount that serves a path, and the path within it; undefined when there is none.
   * @throws {RksError} why the mount's backend could not be made.
   */
  route(
    path: string,
  ): { readonly entry: MountEntry; readonly backend: Backend; readonly path: string } | undefined {
    const mounted = this.#covering(path);
    if (mounted === undefined) return undefined;
    if (mounted.backend instanceof RksError) {
      this.#tryAgain(mounted.entry, mounted.backend);
      throw mounted.backend;
    }
    const { entry, backend } = mounted;
    return { entry, backend, path: path.slice(entry.path.length) };
  }

  /** The mount that a path belongs to, whether or not its backend could be made. */
  covering(path: string): MountEntry | undefined {
    return this.#covering(path)?.entry;
  }

  /**
   * Mount an engine for a caller.
   * @throws {RksError} PERMISSION_DENIED for reserved paths, ALREADY_EXISTS when the path is in use, INPUT_INVALID for
   *   bad paths, unknown types and bad options.
   */
  enable(path: string, type: string, options: MountOptions): Promise<void> {
    return this.#changes.run(() => {
      const wanted = mountPath(path);
      this.#assertNotOwn(wanted);
      return this.#enable(wanted, type, options);
    });
  }

  /** Mount an engine at a reserved path; when it is there already with this type, nothing happens. */
  enableReserved(path: string, type: string, options: MountOptions): Promise<void> {
    return this.#changes.run(async () => {
      const wanted = mountPath(path);
      if (!this.#init.reserved.includes(wanted)) throw new TypeError(`"${wanted}" is not a reserved mount`);
      if (this.#mounted.get(wanted)?.entry.type === type) return;
      await this.#enable(wanted, type, options);
    });
  }

  /**
   * Unmount an engine, revoke what it gave out and delete everything it stored. Requests stop reaching it at once; what a
   * crash or an error leaves is removed by the next call or the next unseal. Nothing mounted there: nothing happens.
   * @throws {RksError} PERMISSION_DENIED for reserved mounts, INPUT_INVALID for the vault's own, or why something of
   *   it could not be revoked or deleted.
   */
  disable(path: string): Promise<void> {
    return this.#changes.run(async () => {
      const wanted = mountPath(path);
      this.#assertNotOwn(wanted);
      const mounted = this.#mounted.get(wanted);
      if (mounted === undefined) {
        const left = [...this.#removing.values()].filter((entry) => entry.path === wanted);
        for (const entry of left) await this.#finishRemoval(entry, undefined);
        return;
      }
      const entry = { ...mounted.entry, removing: true };
      await this.#save(wanted, entry);
      this.#mounted.delete(wanted);
      this.#removing.set(entry.uuid, entry);
      await this.#finishRemoval(entry, mounted.backend);
    });
  }

  /**
   * Move a mount, with everything it stored, to another path. Leases and tokens of the old path are revoked.
   * @throws {RksError} NOT_FOUND, PERMISSION_DENIED for reserved paths, ALREADY_EXISTS when the new path is in use,
   *   INPUT_INVALID for the vault's own mounts and for a login method that would become a secrets engine or vice versa.
   */
  move(from: string, to: string): Promise<MountMove> {
    return this.#changes.run(async () => {
      const [old, wanted] = [mountPath(from), mountPath(to)];
      this.#assertNotOwn(old);
      const mounted = this.#mounted.get(old);
      if (mounted === undefined) throw noMount(old);
      if (isAuthPath(old) !== isAuthPath(wanted)) throw moveRefused(old, wanted);
      this.#assertNotOwn(wanted);
      this.#assertUnused(wanted);
      const { revokeAll } = this.#init;
      this.#mounted.set(old, { entry: mounted.entry, backend: mountBusy(old) });
      const entry = { ...mounted.entry, path: wanted };
      try {
        const { backend } = mounted;
        await revokeAll?.(mounted.entry, backend instanceof RksError ? undefined : backend);
        await this.#save(old, entry);
      } catch (reason) {
        this.#mounted.set(old, mounted);
        throw reason;
      }
      this.#mounted.delete(old);
      await this.#replaceBackend(entry, mounted.backend);
      return this.#remember({ id: randomUUID(), from: old, to: wanted });
    });
  }

  /** A move that was answered not long ago. */
  moved(id: string): MountMove | undefined {
    return this.#moves.get(id);
  }

  /**
   * Change how a mount is tuned; its backend is made anew when its lifetimes change.
   * @throws {RksError} PERMISSION_DENIED for reserved mounts, NOT_FOUND, INPUT_INVALID.
   */
  tune(path: string, tuning: MountTuning): Promise<void> {
    return this.#changes.run(async () => {
      const wanted = mountPath(path);
      const own = this.#builtIn.find((other) => other.path === wanted);
      if (own?.tunable !== true) this.#assertNotOwn(wanted);
      const mounted = this.#mounted.get(wanted);
      if (mounted === undefined) throw noMount(wanted);
      const entry = tuned(mounted.entry, tuning);
      await this.#save(wanted, entry);
      if (sameTtls(entry, mounted.entry)) this.#mounted.set(wanted, { ...mounted, entry });
      else await this.#replaceBackend(entry, mounted.backend);
    });
  }

  /** Dispose every backend; what fails in that is logged. */
  async [Symbol.asyncDispose](): Promise<void> {
    const mounted = [...this.#mounted.values()];
    this.#mounted.clear();
    for (const { entry, backend } of mounted) await this.#close(entry, backend);
  }

  /** What kept a backend from being made may be over; whoever asks next finds out. */
  #tryAgain({ path }: MountEntry, reason: RksError): void {
    if (!reason.retryable || this.#retried.has(path)) return;
    this.#retried.add(path);
    this.#followLater(async () => {
      this.#retried.delete(path);
      const mounted = this.#mounted.get(path);
      if (mounted?.backend === reason) await this.#replaceBackend(mounted.entry, reason);
    });
  }

  #followLater(work: () => Promise<void>): void {
    this.#changes.run(work).catch((reason: unknown) => {
      const { code, message } = RksError.from(reason);
      this.#init.logger.warn("Mounts could not be read again", { code, error: message });
    });
  }

  async #followTable(): Promise<void> {
    const { mounts, modRevision } = await readMountTable(this.#init.storage);
    if (modRevision === this.#tableRevision) return;
    const wanted = new Map(mounts.filter(({ removing }) => !removing).map((entry) => [entry.uuid, entry]));
    for (const { entry, backend } of [...this.#mounted.values()]) {
      const now = wanted.get(entry.uuid);
      if (now?.path === entry.path) continue;
      this.#mounted.delete(entry.path);
      await this.#close(entry, backend);
    }
    this.#removing.clear();
    for (const entry of mounts) {
      if (entry.removing) this.#removing.set(entry.uuid, entry);
      else await this.#followEntry(entry);
    }
    this.#tableRevision = modRevision;
  }

  async #followEntry(entry: MountEntry): Promise<void> {
    const mounted = this.#mounted.get(entry.path);
    if (mounted === undefined)
      this.#mounted.set(entry.path, { entry, backend: await this.#makeBackend(entry) });
    else if (sameTtls(entry, mounted.entry)) this.#mounted.set(entry.path, { ...mounted, entry });
    else await this.#replaceBackend(entry, mounted.backend);
  }

  /** Another process has written what a mount keeps. */
  #heard(key: string): void {
    const found = [...this.#mounted.values()].find(({ entry }) => key.startsWith(storagePrefix(entry)));
    if (found === undefined || found.backend instanceof RksError) return;
    const { entry, backend } = found;
    if (backend.heard?.(key.slice(storagePrefix(entry).length)) !== "outdated") return;
    this.#followLater(async () => {
      const mounted = this.#mounted.get(entry.path);
      if (mounted?.backend === backend) await this.#replaceBackend(mounted.entry, backend);
    });
  }

  #covering(path: string): Mounted | undefined {
    const whole = `${path}/`;
    for (let end = whole.indexOf("/"); end !== -1; end = whole.indexOf("/", end + 1)) {
      const mounted = this.#mounted.get(whole.slice(0, end + 1));
      if (mounted !== undefined) return mounted;
    }
    return undefined;
  }

  async #enable(path: string, type: string, options: MountOptions): Promise<void> {
    this.#assertUnused(path);
    if (this.#mounted.size >= MAX_MOUNTS) throw tooManyMounts(MAX_MOUNTS);
    const factories = this.#factoriesFor(path);
    if (!Object.hasOwn(factories, type)) throw unknownType(type, Object.keys(factories));
    const entry = newMountEntry(path, type, options);
    await this.#save(path, entry);
    const backend = await this.#makeBackend(entry);
    if (!(backend instanceof RksError)) {
      this.#mounted.set(path, { entry, backend });
      return;
    }
    const gone = { ...entry, removing: true };
    this.#removing.set(gone.uuid, gone);
    await this.#save(path);
    await this.#finishRemoval(gone, backend);
    throw backend;
  }

  /** Never two backends of one mount at once: each may keep what it read. */
  async #replaceBackend(entry: MountEntry, old: Backend | RksError): Promise<void> {
    this.#mounted.set(entry.path, { entry, backend: mountBusy(entry.path) });
    await this.#close(entry, old);
    this.#mounted.set(entry.path, { entry, backend: await this.#makeBackend(entry) });
  }

  /** `#finishRemoval` while the vault is being unsealed, which it must not keep from happening. */
  async #finishLater(entry: MountEntry): Promise<void> {
    try {
      await this.#finishRemoval(entry, undefined);
    } catch (reason) {
      const { code, message } = RksError.from(reason);
      this.#init.logger.warn("Unmounting is not finished", { mount: entry.path, code, error: message });
    }
  }

  async #finishRemoval(entry: MountEntry, old: Backend | RksError | undefined): Promise<void> {
    const { storage, revokeAll } = this.#init;
    const backend = old ?? (revokeAll === undefined ? undefined : await this.#makeBackend(entry));
    try {
      await revokeAll?.(entry, backend instanceof RksError ? undefined : backend);
    } finally {
      if (backend !== undefined) await this.#close(entry, backend);
    }
    await deletePrefix(storage, storagePrefix(entry));
    this.#removing.delete(entry.uuid);
    try {
      await this.#save(entry.path, this.#mounted.get(entry.path)?.entry);
    } catch (reason) {
      this.#removing.set(entry.uuid, entry);
      throw reason;
    }
  }

  async #makeBackend(entry: MountEntry): Promise<Backend | RksError> {
    const { storage, logger, stewardship } = this.#init;
    const factories = this.#factoriesFor(entry.path);
    const own = this.#builtIn.find(({ path }) => path === entry.path)?.factory;
    const factory = own ?? (Object.hasOwn(factories, entry.type) ? factories[entry.type] : undefined);
    if (factory === undefined) return engineMissing(entry);
    try {
      return await factory(mountInit(entry), storage, stewardship ?? ALONE);
    } catch (reason) {
      const error = RksError.from(reason);
      logger.error("Mount could not be opened", {
        mount: entry.path,
        code: error.code,
        error: error.message,
      });
      return error;
    }
  }

  async #close(entry: MountEntry, backend: Backend | RksError): Promise<void> {
    try {
      if (!(backend instanceof RksError)) await backend[Symbol.asyncDispose]();
    } catch (reason) {
      this.#init.logger.warn("Mount could not be closed", { mount: entry.path, error: String(reason) });
    }
  }

  #factoriesFor(path: string): Readonly<Record<string, BackendFactory>> {
    return isAuthPath(path) ? this.#init.loginMethods : this.#init.engines;
  }

  /** Neither the cluster's nor the vault's own. */
  #assertNotOwn(path: string): void {
    const reserved = this.#init.reserved.find((other) => looksLike(other, path));
    if (reserved !== undefined) throw reservedMount(reserved);
    const own = this.#builtIn.find((other) => looksLike(other.path, path));
    if (own !== undefined) throw builtInMount(own.path);
  }

  #assertUnused(path: string): void {
    const inTheWay = [...this.#mounted.keys()].find((other) => overlaps(other, path));
    if (inTheWay !== undefined) throw pathInUse(path, inTheWay);
  }

  /** Write the table: every mount, with `entry` instead of what is at `path`. */
  async #save(path: string, entry?: MountEntry): Promise<void> {
    const others = [...this.#mounted.values()].map((mounted) => mounted.entry);
    const removing = [...this.#removing.values()].filter(({ uuid }) => uuid !== entry?.uuid);
    const mounts = [
      ...others.filter((other) => other.path !== path),
      ...(entry === undefined ? [] : [entry]),
      ...removing,
    ];
    assertTableSize(mounts);
    try {
      this.#tableRevision = await writeMountTable(this.#init.storage, mounts, this.#tableRevision);
    } catch (reason) {
      // Whoever was faster is followed before the next change.
      if (RksError.from(reason).code === "CONFLICT") this.#followLater(() => this.#followTable());
      throw reason;
    }
  }

  #remember(move: MountMove): MountMove {
    this.#moves.set(move.id, move);
    for (const id of this.#moves.keys()) {
      if (this.#moves.size <= MAX_MOVES) break;
      this.#moves.delete(id);
    }
    return move;
  }
}

/** The table as it is remembered, with the built-in mounts put in where they are missing. */
async function tableWithBuiltIn(storage: Storage, builtIn: readonly BuiltInMount[]): Promise<StoredMounts> {
  const table = await readMountTable(storage);
  const missing = builtIn.filter(({ path }) => !table.mounts.some((entry) => entry.path === path));
  if (missing.length === 0) return table;
  const added = missing.map(({ path, type, description }) => newMountEntry(path, type, { description }));
  const mounts = [...table.mounts, ...added];
  return { mounts, modRevision: await writeMountTable(storage, mounts, table.modRevision) };
}

function sameTtls(a: MountEntry, b: MountEntry): boolean {
  const [one, other] = [effectiveTtls(a), effectiveTtls(b)];
  return one.default === other.default && one.max === other.max;
}
