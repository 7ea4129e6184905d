import { RksError } from "@rk8s/protocol";
import { MAX_LIST_LIMIT, type Storage } from "../storage/storage.js";
import type { JsonObject } from "../vault/backend.js";
import { parseRole, type PkiRole } from "./role.js";

const ROLE_NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9_])?$/;
const ROLES = "roles/";

/** The roles of a mount, by name. */
export class RoleStore {
  readonly #storage: Storage;
  readonly #folder: string;

  constructor(storage: Storage, prefix: string) {
    this.#storage = storage;
    this.#folder = prefix + ROLES;
  }

  /** @throws {RksError} INPUT_INVALID for a name that no role can have. */
  async find(name: string): Promise<PkiRole | undefined> {
    const entry = await this.#storage.get(this.#key(name));
    return entry === undefined
      ? undefined
      : parseRole(JSON.parse(new TextDecoder().decode(entry.value)) as JsonObject);
  }

  /** @throws {RksError} INPUT_INVALID when there is no such role. */
  async require(name: string): Promise<PkiRole> {
    const role = await this.find(name);
    if (role !== undefined) return role;
    throw new RksError("INPUT_INVALID", `unknown role: "${name}"`, {
      suggestion: `Write the role first: roles/${name}.`,
    });
  }

  /** @throws {RksError} INPUT_INVALID for a name that no role can have. */
  async put(name: string, role: PkiRole): Promise<void> {
    const write = { type: "put", key: this.#key(name), value: Buffer.from(JSON.stringify(role)) } as const;
    await this.#storage.transaction([], [write]);
  }

  /** @throws {RksError} INPUT_INVALID for a name that no role can have. */
  async delete(name: string): Promise<void> {
    await this.#storage.transaction([], [{ type: "delete", key: this.#key(name) }]);
  }

  /** All names in order. */
  async list(): Promise<readonly string[]> {
    const names: string[] = [];
    let after: string | undefined;
    for (;;) {
      const page = await this.#storage.list(this.#folder, {
        limit: MAX_LIST_LIMIT,
        ...(after === undefined ? {} : { after }),
      });
      names.push(...page.entries.map(({ key }) => key.slice(this.#folder.length)));
      after = page.entries.at(-1)?.key;
      if (!page.more || after === undefined) return names;
    }
  }

  #key(name: string): string {
    if (ROLE_NAME.test(name)) return this.#folder + name;
    throw new RksError("INPUT_INVALID", `role name ${JSON.stringify(name.slice(0, 80))} is not allowed`, {
      suggestion: "Use letters, digits, underscores, inner hyphens and dots, at most 128.",
    });
  }
}
