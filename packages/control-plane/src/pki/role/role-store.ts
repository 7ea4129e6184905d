import { RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { JsonObject } from "../../vault/backend.js";
import { parseFields } from "../../vault/field-types.js";
import { roleData } from "./role.js";
import { type PkiRole, roleSchema } from "./role-fields.js";

const ROLE_NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9_])?$/;
const ROLES = "roles/";
/** Decoded roles kept at a time: reading one is a hundred times the work of looking it up. */
const MAX_DECODED = 256;

/** A role as it was found. */
export interface StoredRole {
  readonly role: PkiRole;
  /** Of the storage; changes with every write to the role. */
  readonly modRevision: number;
}

/** The roles of a mount, by name. Every find asks the storage; decoding is what is saved when nothing has changed. */
export class RoleStore {
  readonly #storage: Storage;
  readonly #folder: string;
  readonly #decoded = new Map<string, StoredRole>();

  constructor(storage: Storage, prefix: string) {
    this.#storage = storage;
    this.#folder = prefix + ROLES;
  }

  /** @throws {RksError} INPUT_INVALID for a name that no role can have, STORAGE_CORRUPT. */
  async find(name: string): Promise<StoredRole | undefined> {
    const key = this.#key(name);
    const entry = await this.#storage.get(key);
    if (entry === undefined) return undefined;
    const kept = this.#decoded.get(name);
    if (kept?.modRevision === entry.modRevision) return kept;
    const stored = { role: decodeRole(entry.value, key), modRevision: entry.modRevision };
    this.#decoded.delete(name);
    this.#decoded.set(name, stored);
    for (const oldest of this.#decoded.keys()) {
      if (this.#decoded.size <= MAX_DECODED) break;
      this.#decoded.delete(oldest);
    }
    return stored;
  }

  /** @throws {RksError} INPUT_INVALID when there is no such role, STORAGE_CORRUPT. */
  async require(name: string): Promise<PkiRole> {
    const stored = await this.find(name);
    if (stored !== undefined) return stored.role;
    throw new RksError("INPUT_INVALID", `unknown role: "${name}"`, {
      suggestion: `Write the role first: roles/${name}.`,
    });
  }

  /**
   * Write a role; with `modRevision` only when it has not been written since it was found.
   * @throws {RksError} INPUT_INVALID for a name that no role can have, CONFLICT.
   */
  async put(name: string, role: PkiRole, modRevision?: number): Promise<void> {
    const key = this.#key(name);
    const { succeeded } = await this.#storage.transaction(
      modRevision === undefined ? [] : [{ key, modRevision }],
      [{ type: "put", key, value: Buffer.from(JSON.stringify(roleData(role))) }],
    );
    if (succeeded) return;
    throw new RksError("CONFLICT", `role "${name}" was changed at the same time`, {
      suggestion: "Try again.",
    });
  }

  /** @throws {RksError} INPUT_INVALID for a name that no role can have. */
  async delete(name: string): Promise<void> {
    this.#decoded.delete(name);
    await this.#storage.transaction([], [{ type: "delete", key: this.#key(name) }]);
  }

  /** Names in order, at most `limit` of them (0: all), after `after`. */
  async list(range: { readonly after?: string; readonly limit?: number } = {}): Promise<readonly string[]> {
    const names: string[] = [];
    let { after = "" } = range;
    for (;;) {
      const page = await this.#storage.list(
        this.#folder,
        after === "" ? {} : { after: this.#folder + after },
      );
      names.push(...page.entries.map(({ key }) => key.slice(this.#folder.length)));
      after = names.at(-1) ?? "";
      if (range.limit !== undefined && range.limit > 0 && names.length >= range.limit) {
        return names.slice(0, range.limit);
      }
      if (!page.more) return names;
    }
  }

  #key(name: string): string {
    if (ROLE_NAME.test(name)) return this.#folder + name;
    throw new RksError("INPUT_INVALID", `role name ${JSON.stringify(name.slice(0, 80))} is not allowed`, {
      suggestion: "Use letters, digits, underscores, inner hyphens and dots, at most 128.",
    });
  }
}

/** A role as it was written; fields that came later have their defaults. */
function decodeRole(value: Uint8Array, key: string): PkiRole {
  try {
    return parseFields(roleSchema, JSON.parse(new TextDecoder().decode(value)) as JsonObject, "role");
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", `the role "${key}" cannot be read`, {
      cause,
      suggestion: "Write the role again, or restore the data folder from a backup.",
    });
  }
}
