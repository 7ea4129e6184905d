import { randomBytes, randomUUID } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import type { Logger } from "@rk8s/protocol";

import type { Storage } from "../../storage/storage.js";
import type { Backend, BackendFactory, MountInit } from "../backend.js";
import { deletePrefix, readMountTable, writeMountTable } from "./mount-table.js";
import type { MountEntry } from "./mount-table.js";
import { Serial } from "../serial.js";

/** Vault's defaults: 32 days. */
export const SYSTEM_MAX_TTL_SECONDS = 768 * 3600;
export const SYSTEM_DEFAULT_TTL_SECONDS = 768 * 3600;

const AUTH = "auth/";
const MOUNT_PATH = /^(?:[A-Za-z0-9][\w.-]*\/){1,4}$/;
const MAX_MOUNT_PATH_CHARACTERS = 128;

/** What a caller chooses about a mount. Seconds; 0 or nothing: the system's. */
export interface MountOptions {
  readonly description?: string | undefined;
  readonly defaultTtlSeconds?: number | undefined;
  readonly maxTtlSeconds?: number | undefined;
  /** What the engine is told besides. Cannot be changed later. */
  readonly options?: Readonly<Record<string, string>> | undefined;
}

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
}

export interface MountsInit {
  readonly storage: Storage;
  /** What callers can mount, by type: secrets engines, and login methods for below `auth/`. */
  readonly engines: Readonly<Record<string, BackendFactory>>;
  readonly loginMethods: Readonly<Record<string, BackendFactory>>;
  /** The vault's own, which may look at the mounts once those are open; nobody mounts over, unmounts or tunes them. */
  readonly builtIn: (mounts: () => Mounts) => readonly BuiltInMount[];
  /** With trailing slash; only `enableReserved` mounts there, and nobody unmounts or tunes it. */
  readonly reserved: readonly string[];
  readonly logger: Logger;
}

/**
 * The engines mounted in an unsealed vault. A backend that cannot be made does not keep the vault from being unsealed:
 * its mount answers every request with the reason.
 */
export class Mounts implements AsyncDisposable {
  readonly #init: MountsInit;
  readonly #builtIn: readonly BuiltInMount[];
  readonly #mounted = new Map<string, Mounted>();
  readonly #changes = new Serial();

  private constructor(init: MountsInit) {
    this.#init = init;
    this.#builtIn = init.builtIn(() => this);
  }

  /** Make the backends of all mounts, and finish what a crash interrupted. */
  static async open(init: MountsInit): Promise<Mounts> {
    const mounts = new Mounts(init);
    try {
      for (const entry of await tableWithBuiltIn(init.storage, mounts.#builtIn)) {
        if (entry.removing) await mounts.#finishRemoval(entry);
        else mounts.#mounted.set(entry.path, { entry, backend: await mounts.#makeBackend(entry) });
      }
    } catch (reason) {
      await mounts[Symbol.asyncDispose]();
      throw reason;
    }
    return mounts;
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
    const whole = `${path}/`;
    for (let end = whole.indexOf("/"); end !== -1; end = whole.indexOf("/", end + 1)) {
      const mounted = this.#mounted.get(whole.slice(0, end + 1));
      if (mounted === undefined) continue;
      if (mounted.backend instanceof RksError) throw mounted.backend;
      return { entry: mounted.entry, backend: mounted.backend, path: path.slice(end + 1) };
    }
    return undefined;
  }

  /**
   * Mount an engine for a caller.
   * @throws {RksError} PERMISSION_DENIED for reserved paths, ALREADY_EXISTS when the path is in use, INPUT_INVALID for
   *   bad paths, unknown types and bad options.
   */
  enable(path: string, type: string, options: MountOptions): Promise<void> {
    return this.#changes.run(() => {
      const wanted = mountPath(path);
      this.#assertNotReserved(wanted);
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
   * Unmount an engine and delete everything it stored. Nothing mounted there: nothing happens.
   * @throws {RksError} PERMISSION_DENIED for reserved mounts.
   */
  disable(path: string): Promise<void> {
    return this.#changes.run(async () => {
      const wanted = mountPath(path);
      this.#assertNotReserved(wanted);
      const mounted = this.#mounted.get(wanted);
      if (mounted === undefined) return;
      const entry = { ...mounted.entry, removing: true };
      await this.#save([...this.#others(wanted), entry]);
      this.#mounted.delete(wanted);
      await dispose(mounted.backend);
      await this.#finishRemoval(entry);
    });
  }

  /**
   * Change a mount's lifetimes or description; its backend is made anew with them.
   * @throws {RksError} PERMISSION_DENIED for reserved mounts, NOT_FOUND, INPUT_INVALID.
   */
  tune(path: string, options: MountOptions): Promise<void> {
    return this.#changes.run(async () => {
      const wanted = mountPath(path);
      this.#assertNotReserved(wanted);
      const mounted = this.#mounted.get(wanted);
      if (mounted === undefined) throw noMount(wanted);
      const entry: MountEntry = {
        ...mounted.entry,
        description: options.description ?? mounted.entry.description,
        defaultTtlSeconds: options.defaultTtlSeconds ?? mounted.entry.defaultTtlSeconds,
        maxTtlSeconds: options.maxTtlSeconds ?? mounted.entry.maxTtlSeconds,
      };
      assertTtls(entry);
      await this.#save([...this.#others(wanted), entry]);
      // Never two backends at once: each may keep what it read.
      this.#mounted.set(wanted, { entry, backend: beingTuned(wanted) });
      await dispose(mounted.backend);
      this.#mounted.set(wanted, { entry, backend: await this.#makeBackend(entry) });
    });
  }

  /** Dispose every backend; what fails in that is logged. */
  async [Symbol.asyncDispose](): Promise<void> {
    const mounted = [...this.#mounted.values()];
    this.#mounted.clear();
    for (const { entry, backend } of mounted) {
      await dispose(backend).catch((reason: unknown) => {
        this.#init.logger.warn("Mount could not be closed", { mount: entry.path, error: String(reason) });
      });
    }
  }

  async #enable(path: string, type: string, options: MountOptions): Promise<void> {
    const inTheWay = [...this.#mounted.keys()].find((other) => overlaps(other, path));
    if (inTheWay !== undefined) {
      throw new RksError("ALREADY_EXISTS", `path "${path}" is already in use at "${inTheWay}"`, {
        suggestion: "Mount at another path, or disable what is there.",
      });
    }
    const factories = this.#factoriesFor(path);
    if (!Object.hasOwn(factories, type)) {
      throw new RksError("INPUT_INVALID", `mount type "${type.slice(0, 40)}" is not known`, {
        suggestion: `Use one of: ${Object.keys(factories).join(", ") || "(none)"}.`,
      });
    }
    const entry = newEntry(path, type, options);
    assertTtls(entry);
    await this.#save([...this.#others(path), entry]);
    const backend = await this.#makeBackend(entry);
    if (backend instanceof RksError) {
      await this.#finishRemoval(entry);
      throw backend;
    }
    this.#mounted.set(path, { entry, backend });
  }

  async #finishRemoval(entry: MountEntry): Promise<void> {
    await deletePrefix(this.#init.storage, storagePrefix(entry));
    const table = await readMountTable(this.#init.storage);
    await this.#save(table.filter(({ uuid }) => uuid !== entry.uuid));
  }

  async #makeBackend(entry: MountEntry): Promise<Backend | RksError> {
    const { storage, logger } = this.#init;
    const factories = this.#factoriesFor(entry.path);
    const own = this.#builtIn.find(({ path }) => path === entry.path)?.factory;
    const factory = own ?? (Object.hasOwn(factories, entry.type) ? factories[entry.type] : undefined);
    if (factory === undefined) {
      return new RksError(
        "UNSUPPORTED",
        `the engine "${entry.type}" of mount "${entry.path}" is not built in`,
        {
          suggestion: "Use the version of rks that mounted it.",
        },
      );
    }
    try {
      return await factory(mountInit(entry), storage);
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

  #factoriesFor(path: string): Readonly<Record<string, BackendFactory>> {
    return path.startsWith(AUTH) ? this.#init.loginMethods : this.#init.engines;
  }

  #assertNotReserved(path: string): void {
    const inTheWay = this.#init.reserved.find((other) => overlaps(other, path));
    if (inTheWay !== undefined) throw reservedMount(inTheWay);
    const own = this.#builtIn.find((other) => overlaps(other.path, path));
    if (own !== undefined) throw builtInMount(own.path);
  }

  #others(path: string): MountEntry[] {
    return [...this.#mounted.values()].map(({ entry }) => entry).filter((entry) => entry.path !== path);
  }

  #save(mounts: readonly MountEntry[]): Promise<void> {
    return writeMountTable(this.#init.storage, mounts);
  }
}

/** The table as it is remembered, with the built-in mounts put in where they are missing. */
async function tableWithBuiltIn(
  storage: Storage,
  builtIn: readonly BuiltInMount[],
): Promise<readonly MountEntry[]> {
  const table = await readMountTable(storage);
  const missing = builtIn.filter(({ path }) => !table.some((entry) => entry.path === path));
  if (missing.length === 0) return table;
  const added = missing.map(({ path, type, description }) => newEntry(path, type, { description }));
  await writeMountTable(storage, [...table, ...added]);
  return [...table, ...added];
}

function newEntry(path: string, type: string, options: MountOptions): MountEntry {
  return {
    path,
    type,
    uuid: randomUUID(),
    accessor: `${path.startsWith(AUTH) ? "auth_" : ""}${type}_${randomBytes(4).toString("hex")}`,
    description: options.description ?? "",
    defaultTtlSeconds: options.defaultTtlSeconds ?? 0,
    maxTtlSeconds: options.maxTtlSeconds ?? 0,
    options: options.options ?? {},
    removing: false,
  };
}

/** Lifetimes of a mount with the system's filled in, in seconds. */
export function effectiveTtls(entry: MountEntry): { readonly default: number; readonly max: number } {
  const max = entry.maxTtlSeconds === 0 ? SYSTEM_MAX_TTL_SECONDS : entry.maxTtlSeconds;
  const wanted = entry.defaultTtlSeconds === 0 ? SYSTEM_DEFAULT_TTL_SECONDS : entry.defaultTtlSeconds;
  return { default: Math.min(wanted, max), max };
}

function mountInit(entry: MountEntry): MountInit {
  const ttls = effectiveTtls(entry);
  return {
    path: entry.path,
    type: entry.type,
    accessor: entry.accessor,
    options: entry.options,
    storagePrefix: storagePrefix(entry),
    defaultTtlSeconds: ttls.default,
    maxTtlSeconds: ttls.max,
  };
}

function storagePrefix(entry: MountEntry): string {
  return `logical/${entry.uuid}/`;
}

/** The one spelling of a mount's path. */
function mountPath(path: string): string {
  const trimmed = path.replace(/^\/+|\/+$/g, "");
  const wanted = `${trimmed}/`;
  const isPossible = wanted !== AUTH && wanted.length <= MAX_MOUNT_PATH_CHARACTERS && MOUNT_PATH.test(wanted);
  if (isPossible) return wanted;
  throw new RksError("INPUT_INVALID", `mount path ${JSON.stringify(path.slice(0, 80))} is not possible`, {
    suggestion: "Use letters, digits, _ . and -, in at most four parts.",
  });
}

function overlaps(a: string, b: string): boolean {
  return a.startsWith(b) || b.startsWith(a);
}

function assertTtls({ path, defaultTtlSeconds, maxTtlSeconds }: MountEntry): void {
  if (maxTtlSeconds === 0 || defaultTtlSeconds <= maxTtlSeconds) return;
  throw new RksError(
    "INPUT_INVALID",
    `the default lifetime of "${path}", ${defaultTtlSeconds} s, is longer than its longest, ${maxTtlSeconds} s`,
    { suggestion: "Make default_lease_ttl at most max_lease_ttl." },
  );
}

async function dispose(backend: Backend | RksError): Promise<void> {
  if (!(backend instanceof RksError)) await backend[Symbol.asyncDispose]();
}

function reservedMount(path: string): RksError {
  return new RksError("PERMISSION_DENIED", `mount "${path}" is the cluster's own`, {
    suggestion: "Mount an engine at another path.",
  });
}

function builtInMount(path: string): RksError {
  return new RksError("INPUT_INVALID", `mount "${path}" is the vault's own`, {
    suggestion: "Mount at another path.",
  });
}

function beingTuned(path: string): RksError {
  return new RksError("UNAVAILABLE", `mount "${path}" is being tuned`, {
    suggestion: "Try again in a moment.",
  });
}

function noMount(path: string): RksError {
  return new RksError("NOT_FOUND", `nothing is mounted at "${path}"`, { suggestion: "List the mounts." });
}
