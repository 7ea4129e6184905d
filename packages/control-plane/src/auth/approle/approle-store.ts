import { createHmac, randomBytes } from "node:crypto";

import { type Clock, RksError } from "@rk8s/protocol";
import { deletePrefix, type Storage, type Stored, type Write } from "@rk8s/storage";
import { z } from "zod";

import type { Commit, MountInit } from "../../vault/backend.js";
import { StoredRecords } from "../stored-records.js";
import { type ApproleRole, approleRole } from "./approle-role.js";
import { isExpired, type SecretId, secretId } from "./secret-id.js";

const SALT_BYTES = 32;

const roleOfId = z.object({ role: z.string() });
const secretOfAccessor = z.object({ hash: z.string() });
const deletedRole = z.object({ deletedTime: z.iso.datetime() });

/** A secret id with where it is kept. */
export interface FoundSecretId extends Stored<SecretId> {
  /** Of its role. */
  readonly uid: string;
  readonly hash: string;
}

export type FoundRole = Stored<ApproleRole>;

/**
 * Keeps roles and secret ids. Role ids, secret ids and accessors are looked up by their HMAC under a key of the mount: what
 * is compared is not what was sent, and secret ids are kept in no other form.
 */
export class ApproleStore {
  readonly clock: Pick<Clock, "now">;
  readonly mount: MountInit;
  readonly storage: Storage;
  readonly roles: StoredRecords<ApproleRole>;
  /** Role names by the hash of the role id. */
  readonly #roleIds: StoredRecords<z.infer<typeof roleOfId>>;
  /** By uid of the role and hash. */
  readonly #secrets: StoredRecords<SecretId>;
  readonly #accessors: StoredRecords<z.infer<typeof secretOfAccessor>>;
  /** Roles whose secret ids are still to be deleted, by uid. */
  readonly #deleted: StoredRecords<z.infer<typeof deletedRole>>;
  readonly #salt: Uint8Array;

  private constructor(mount: MountInit, storage: Storage, clock: Pick<Clock, "now">, salt: Uint8Array) {
    const { storagePrefix: prefix } = mount;
    this.clock = clock;
    this.mount = mount;
    this.storage = storage;
    this.roles = new StoredRecords(storage, `${prefix}role/`, approleRole);
    this.#roleIds = new StoredRecords(storage, `${prefix}role-id/`, roleOfId);
    this.#secrets = new StoredRecords(storage, `${prefix}secret/`, secretId);
    this.#accessors = new StoredRecords(storage, `${prefix}accessor/`, secretOfAccessor);
    this.#deleted = new StoredRecords(storage, `${prefix}deleted/`, deletedRole);
    this.#salt = salt;
  }

  /** Open what a mount keeps; its key is made the first time. */
  static async open(mount: MountInit, storage: Storage, clock: Pick<Clock, "now">): Promise<ApproleStore> {
    const key = `${mount.storagePrefix}salt`;
    const value = randomBytes(SALT_BYTES);
    await storage.transaction([{ key, modRevision: 0 }], [{ type: "put", key, value }]);
    const salt = (await storage.get(key))?.value ?? value;
    return new ApproleStore(mount, storage, clock, Uint8Array.from(salt));
  }

  /** @throws {RksError} INPUT_INVALID when there is no such role. */
  async requireRole(name: string): Promise<FoundRole> {
    const stored = await this.roles.read(name);
    if (stored !== undefined) return stored;
    throw new RksError("INPUT_INVALID", `role "${name.slice(0, 128)}" does not exist`, {
      suggestion: "Write the role first.",
    });
  }

  async findRoleById(roleId: string): Promise<FoundRole | undefined> {
    const name = (await this.#roleIds.read(this.#hash(roleId)))?.record.role;
    const stored = name === undefined ? undefined : await this.roles.read(name);
    // Between the two reads the role may have got another id.
    return stored?.record.roleId === roleId ? stored : undefined;
  }

  /**
   * For the transaction that writes a role: its role id belongs to it and to no other.
   * @throws {RksError} INPUT_INVALID when another role has it.
   */
  async roleIdWrites(
    name: string,
    role: ApproleRole,
    before: ApproleRole | undefined,
  ): Promise<{
    readonly comparisons: ReturnType<ApproleStore["roles"]["unchanged"]>[];
    readonly writes: Write[];
  }> {
    if (role.roleId === before?.roleId) return { comparisons: [], writes: [] };
    const hash = this.#hash(role.roleId);
    if ((await this.#roleIds.read(hash)) !== undefined) {
      throw new RksError("INPUT_INVALID", "the role id is in use by another role", {
        suggestion: "Choose another one, or leave it to the vault.",
      });
    }
    const old = before === undefined ? [] : [this.#roleIds.delete(this.#hash(before.roleId))];
    return {
      comparisons: [this.#roleIds.unchanged(hash, undefined)],
      writes: [this.#roleIds.put(hash, { role: name }), ...old],
    };
  }

  /** Delete a role, then its secret ids, which are good for nothing without it. */
  async removeRole(name: string): Promise<void> {
    let uid: string | undefined;
    await this.roles.change(name, (role) => {
      uid = role?.uid;
      if (role === undefined) return {};
      const deletedTime = new Date(this.clock.now()).toISOString();
      return {
        record: null,
        writes: [this.#roleIds.delete(this.#hash(role.roleId)), this.#deleted.put(role.uid, { deletedTime })],
      };
    });
    if (uid !== undefined) await this.#purge(uid);
  }

  /** @throws {RksError} INPUT_INVALID when there is such a secret id already. */
  async addSecretId(role: FoundRole, text: string, secret: SecretId): Promise<void> {
    const { uid } = role.record;
    const hash = this.#hash(text);
    const { succeeded } = await this.storage.transaction(
      [this.#secrets.unchanged(`${uid}/${hash}`, undefined), this.roles.unchanged(role.name, role)],
      [
        this.#secrets.put(`${uid}/${hash}`, secret),
        this.#accessors.put(`${uid}/${this.#hash(secret.accessor)}`, { hash }),
      ],
    );
    if (succeeded) return;
    if ((await this.#secrets.read(`${uid}/${hash}`)) !== undefined) {
      throw new RksError("INPUT_INVALID", "the secret id is already registered", {
        suggestion: "Choose another one, or leave it to the vault.",
      });
    }
    throw new RksError("CONFLICT", `role "${role.name}" was changed at the same time`, {
      suggestion: "Try again.",
    });
  }

  async findSecretId(uid: string, text: string): Promise<FoundSecretId | undefined> {
    return this.#secretByHash(uid, this.#hash(text));
  }

  async findByAccessor(uid: string, accessor: string): Promise<FoundSecretId | undefined> {
    const found = await this.#accessors.read(`${uid}/${this.#hash(accessor)}`);
    return found === undefined ? undefined : this.#secretByHash(uid, found.record.hash);
  }

  /** Accessors of the secret ids of a role, sorted. */
  async accessors(uid: string): Promise<readonly string[]> {
    const accessors: string[] = [];
    for (const hash of await this.#secrets.names(`${uid}/`)) {
      const secret = await this.#secrets.read(`${uid}/${hash}`);
      if (secret !== undefined) accessors.push(secret.record.accessor);
    }
    return accessors.toSorted();
  }

  /**
   * What takes one use of a secret id, for a transaction; the last one goes with the secret id. The transaction fails when
   * it was changed since it was found.
   */
  use(found: FoundSecretId): Commit {
    const { record, uid, hash } = found;
    if (record.usesLeft === 1) return this.#removal(found);
    const name = `${uid}/${hash}`;
    const comparisons = [this.#secrets.unchanged(name, found)];
    if (record.usesLeft === 0) return { comparisons, writes: [] };
    const lastUpdatedTime = new Date(this.clock.now()).toISOString();
    const used: SecretId = { ...record, usesLeft: record.usesLeft - 1, lastUpdatedTime };
    return { comparisons, writes: [this.#secrets.put(name, used)] };
  }

  /** False: it was changed since it was found. */
  async removeSecretId(found: FoundSecretId): Promise<boolean> {
    const { comparisons, writes } = this.#removal(found);
    return (await this.storage.transaction(comparisons, writes)).succeeded;
  }

  /** Delete what expired, and what is left of deleted roles. Returns how many secret ids. */
  async tidy(): Promise<number> {
    let count = 0;
    for (const uid of await this.#deleted.names()) count += await this.#purge(uid);
    for (const folder of await this.#secrets.names()) {
      const uid = folder.replace(/\/$/, "");
      for (const hash of await this.#secrets.names(folder)) {
        const found = await this.#secretByHash(uid, hash);
        if (found === undefined || !isExpired(found.record, this.clock.now())) continue;
        if (await this.removeSecretId(found)) count += 1;
      }
    }
    return count;
  }

  #removal(found: FoundSecretId): Commit {
    const { record, uid, hash } = found;
    const name = `${uid}/${hash}`;
    return {
      comparisons: [this.#secrets.unchanged(name, found)],
      writes: [this.#secrets.delete(name), this.#accessors.delete(`${uid}/${this.#hash(record.accessor)}`)],
    };
  }

  async #secretByHash(uid: string, hash: string): Promise<FoundSecretId | undefined> {
    const stored = await this.#secrets.read(`${uid}/${hash}`);
    return stored === undefined ? undefined : { ...stored, uid, hash };
  }

  /** Delete the secret ids of a deleted role, then the mark that they are to be deleted. */
  async #purge(uid: string): Promise<number> {
    const { storagePrefix } = this.mount;
    await deletePrefix(this.storage, `${storagePrefix}accessor/${uid}/`);
    const count = await deletePrefix(this.storage, `${storagePrefix}secret/${uid}/`);
    await this.storage.transaction([], [this.#deleted.delete(uid)]);
    return count;
  }

  #hash(text: string): string {
    return createHmac("sha256", this.#salt).update(text).digest("hex");
  }
}
