import { type Clock, fromUtf8, RksError, utf8 } from "@rk8s/protocol";
import type { Storage, Write } from "@rk8s/storage";
import type { z } from "zod";

import type { JsonObject, MountInit } from "../../vault/backend.js";
import { decodeSecret } from "./secret-value.js";
import {
  type VersionedConfig,
  versionedConfig,
  type VersionedSecret,
  versionedSecret,
} from "./versioned-secret.js";

/** Of many that change one secret at the same time each round lets one through. */
const MAX_ATTEMPTS = 256;
const NO_CONFIG: VersionedConfig = { maxVersions: 0, casRequired: false, deleteVersionAfterSeconds: 0 };

/** What becomes of a secret; everything happens or nothing. */
export interface SecretChange<T> {
  /** Undefined: it stays; null: it goes. */
  readonly secret?: VersionedSecret | null;
  /** Data of a new version. */
  readonly put?: { readonly version: number; readonly data: Uint8Array };
  /** Versions whose data is deleted. */
  readonly drop?: readonly number[];
  readonly result: T;
}

/** Keeps secrets with their versions: a record of each secret, and the data of each version under keys of their own. */
export class VersionedStore {
  readonly clock: Pick<Clock, "now">;
  readonly storage: Storage;
  /** Under which the records of all secrets lie, by path. */
  readonly secretsPrefix: string;
  readonly #prefix: string;

  constructor(mount: MountInit, storage: Storage, ports: { readonly clock: Pick<Clock, "now"> }) {
    this.clock = ports.clock;
    this.storage = storage;
    this.secretsPrefix = `${mount.storagePrefix}secrets/`;
    this.#prefix = mount.storagePrefix;
  }

  /** @throws {RksError} STORAGE_CORRUPT */
  async config(): Promise<VersionedConfig> {
    const entry = await this.storage.get(`${this.#prefix}config`);
    return entry === undefined ? NO_CONFIG : decode(versionedConfig, entry.key, entry.value);
  }

  async saveConfig(config: VersionedConfig): Promise<void> {
    await this.storage.transaction([], [record(`${this.#prefix}config`, config)]);
  }

  /** @throws {RksError} STORAGE_CORRUPT */
  async find(path: string): Promise<VersionedSecret | undefined> {
    return (await this.#read(path))?.secret;
  }

  /**
   * The data of a version that `pick` chooses from the secret as it is now.
   * @returns what `pick` chose, with its data; undefined when it chose nothing.
   * @throws {RksError} STORAGE_CORRUPT
   */
  async findData<T extends { readonly version: number }>(
    path: string,
    pick: (secret: VersionedSecret) => T | undefined,
  ): Promise<{ readonly picked: T; readonly data: JsonObject } | undefined> {
    for (let revision = -1; ;) {
      const stored = await this.#read(path);
      const picked = stored === undefined ? undefined : pick(stored.secret);
      if (stored === undefined || picked === undefined) return undefined;
      const entry = await this.storage.get(this.#dataKey(path, picked.version));
      if (entry !== undefined) return { picked, data: decodeSecret(path, entry.value) };
      // Gone between the two reads, unless nothing has changed since.
      if (stored.revision === revision) throw corrupt(this.#dataKey(path, picked.version));
      revision = stored.revision;
    }
  }

  /**
   * Change a secret in one transaction. `decide` is asked again, with what the secret has become, when somebody else was
   * faster; what it throws ends the change.
   * @throws {RksError} CONFLICT when others are faster again and again.
   */
  async change<T>(
    path: string,
    decide: (secret: VersionedSecret | undefined) => SecretChange<T> | Promise<SecretChange<T>>,
  ): Promise<T> {
    const key = this.secretsPrefix + path;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const stored = await this.#read(path);
      const { secret, put, drop = [], result } = await decide(stored?.secret);
      if (secret === undefined) return result;
      const writes: Write[] = drop.map((version) => ({ type: "delete", key: this.#dataKey(path, version) }));
      if (put !== undefined) {
        writes.push({ type: "put", key: this.#dataKey(path, put.version), value: put.data });
      }
      writes.push(secret === null ? { type: "delete", key } : record(key, secret));
      const unchanged = { key, modRevision: stored?.revision ?? 0 };
      if ((await this.storage.transaction([unchanged], writes)).succeeded) return result;
    }
    throw new RksError("CONFLICT", `secret "${path.slice(0, 120)}" is being changed by many at this moment`, {
      suggestion: "Try again.",
    });
  }

  async #read(
    path: string,
  ): Promise<{ readonly secret: VersionedSecret; readonly revision: number } | undefined> {
    const entry = await this.storage.get(this.secretsPrefix + path);
    if (entry === undefined) return undefined;
    return { secret: decode(versionedSecret, entry.key, entry.value), revision: entry.modRevision };
  }

  /** The number comes first: behind the path it could be part of another path. */
  #dataKey(path: string, version: number): string {
    return `${this.#prefix}data/${version}/${path}`;
  }
}

function record(key: string, value: VersionedSecret | VersionedConfig): Write {
  return { type: "put", key, value: utf8(JSON.stringify(value)) };
}

function decode<T>(schema: z.ZodType<T>, key: string, value: Uint8Array): T {
  try {
    return schema.parse(JSON.parse(fromUtf8(value)));
  } catch (cause) {
    throw corrupt(key, cause);
  }
}

function corrupt(key: string, cause?: unknown): RksError {
  return new RksError("STORAGE_CORRUPT", `the record "${key.slice(0, 200)}" cannot be read`, {
    suggestion: "Restore the data folder from the newest backup.",
    cause,
  });
}
