import { createHash, randomBytes, randomUUID } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import type { Clock } from "@rk8s/protocol";
import { type Comparison, pagesOf, type Storage, type Write } from "@rk8s/storage";

import { RecentMap } from "../policy/recent-map.js";
import { decodeEntity, encodeEntity, type Entity, type EntityAlias } from "./entity.js";

const ENTITY_PREFIX = "identity/entity/";
const NAME_PREFIX = "identity/name/";
const ALIAS_PREFIX = "identity/alias/";
const ALIAS_ID_PREFIX = "identity/alias-id/";
const MAX_CONFLICTS = 50;
const MAX_DECODED = 4096;
const MAX_NAME_CHARACTERS = 256;
const MAX_METADATA_ENTRIES = 64;
const MAX_METADATA_CHARACTERS = 1024;
const PAGE = 500;
const UUID = /^[0-9a-f-]{36}$/;

/** Whoever logged in, as the mount knows it. */
export interface AliasLogin {
  readonly mountAccessor: string;
  readonly mountPath: string;
  readonly mountType: string;
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** What a caller chooses of an entity; what is not named stays. */
export interface EntityChange {
  readonly name?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly disabled?: boolean | undefined;
}

/** Entities in the barrier: whom tokens belong to. The store is the only writer of what it keeps. */
export class EntityStore {
  readonly #storage: Storage;
  readonly #clock: Pick<Clock, "now">;
  readonly #decoded = new RecentMap<Stored>(MAX_DECODED);

  constructor(storage: Storage, clock: Pick<Clock, "now">) {
    this.#storage = storage;
    this.#clock = clock;
  }

  async find(id: string): Promise<Entity | undefined> {
    return (await this.#read(id))?.entity;
  }

  async findByName(name: string): Promise<Entity | undefined> {
    if (name.length > MAX_NAME_CHARACTERS) return undefined;
    return this.#follow(nameKey(name));
  }

  async findByAlias(mountAccessor: string, name: string): Promise<Entity | undefined> {
    return this.#follow(aliasKey(mountAccessor, name));
  }

  async findByAliasId(id: string): Promise<Entity | undefined> {
    return UUID.test(id) ? this.#follow(ALIAS_ID_PREFIX + id) : undefined;
  }

  /**
   * The entity that has an alias, made where there is none: of two logins at once both get the same. The alias
   * remembers what the mount says of it now.
   */
  async ensure(login: AliasLogin): Promise<Entity> {
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const stored = await this.#storage.get(aliasKey(login.mountAccessor, login.name));
      const found = stored === undefined ? undefined : await this.#read(text(stored.value));
      const entity = found === undefined ? await this.#make(login) : await this.#refresh(found, login);
      if (entity !== undefined) return entity;
    }
    throw busy();
  }

  /**
   * Make an entity, or change the one of this name.
   * @throws {RksError} INPUT_INVALID
   */
  async write(change: EntityChange): Promise<Entity> {
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const known = change.name === undefined ? undefined : await this.findByName(change.name);
      if (known !== undefined) return this.update(known.id, change);
      const entity = this.#changed(this.#new(change.name), change);
      if (await this.#create(entity, [])) return entity;
    }
    throw busy();
  }

  /** @throws {RksError} INPUT_INVALID when there is none, or the name is another's. */
  async update(id: string, change: EntityChange): Promise<Entity> {
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const stored = await this.#read(id);
      if (stored === undefined) throw noEntity(id);
      const entity = this.#changed(stored.entity, change);
      const isRenamed = nameKey(entity.name) !== nameKey(stored.entity.name);
      if (isRenamed && (await this.findByName(entity.name)) !== undefined) throw nameTaken(entity.name);
      const renaming: readonly Write[] = isRenamed
        ? [
            { type: "delete", key: nameKey(stored.entity.name) },
            { type: "put", key: nameKey(entity.name), value: Buffer.from(id) },
          ]
        : [];
      const free = isRenamed ? [{ key: nameKey(entity.name), modRevision: 0 }] : [];
      if (await this.#swap(stored, entity, { free, besides: renaming })) return entity;
    }
    throw busy();
  }

  /** Its tokens are refused from then on. Not there: nothing happens. */
  async delete(id: string): Promise<void> {
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const stored = await this.#read(id);
      if (stored === undefined) return;
      const { name, aliases } = stored.entity;
      const keys = [
        stored.key,
        nameKey(name),
        ...aliases.flatMap((alias) => [
          aliasKey(alias.mountAccessor, alias.name),
          ALIAS_ID_PREFIX + alias.id,
        ]),
      ];
      const { succeeded } = await this.#storage.transaction(
        [{ key: stored.key, modRevision: stored.modRevision }],
        keys.map((key) => ({ type: "delete", key })),
      );
      this.#decoded.delete(id);
      if (succeeded) return;
    }
    throw busy();
  }

  /** All entities, a page at a time. */
  async *all(): AsyncGenerator<Entity, void, void> {
    for await (const entries of pagesOf(this.#storage, ENTITY_PREFIX, { limit: PAGE })) {
      for (const { value } of entries) yield decodeEntity(value);
    }
  }

  async #make(login: AliasLogin): Promise<Entity | undefined> {
    const alias = newAlias(login, this.#clock.now());
    const entity = { ...this.#new(undefined), aliases: [alias] };
    return (await this.#create(entity, [alias])) ? entity : undefined;
  }

  async #refresh(stored: Stored, login: AliasLogin): Promise<Entity | undefined> {
    const known = stored.entity.aliases.find(
      ({ mountAccessor, name }) => mountAccessor === login.mountAccessor && name === login.name,
    );
    if (known === undefined) return stored.entity;
    const isSame =
      known.mountPath === login.mountPath && sorted(known.metadata) === sorted(checked(login.metadata));
    if (isSame) return stored.entity;
    const updatedAtMs = this.#clock.now();
    const alias = { ...known, mountPath: login.mountPath, metadata: { ...login.metadata }, updatedAtMs };
    const aliases = stored.entity.aliases.map((other) => (other === known ? alias : other));
    const entity = { ...stored.entity, aliases, updatedAtMs };
    return (await this.#swap(stored, entity)) ? entity : undefined;
  }

  #new(name: string | undefined): Entity {
    const nowMs = this.#clock.now();
    return {
      version: 1,
      id: randomUUID(),
      name: name ?? `entity_${randomBytes(4).toString("hex")}`,
      metadata: {},
      disabled: false,
      aliases: [],
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
    };
  }

  #changed(entity: Entity, { name, metadata, disabled }: EntityChange): Entity {
    return {
      ...entity,
      name: checkedName(name ?? entity.name),
      metadata: checked(metadata ?? entity.metadata),
      disabled: disabled ?? entity.disabled,
      updatedAtMs: this.#clock.now(),
    };
  }

  /** False when the name or an alias is in use meanwhile. */
  async #create(entity: Entity, aliases: readonly EntityAlias[]): Promise<boolean> {
    const id = Buffer.from(entity.id);
    const pointers = [
      nameKey(entity.name),
      ...aliases.flatMap((alias) => [aliasKey(alias.mountAccessor, alias.name), ALIAS_ID_PREFIX + alias.id]),
    ];
    const { succeeded } = await this.#storage.transaction(
      pointers.map((key) => ({ key, modRevision: 0 })),
      [
        { type: "put", key: ENTITY_PREFIX + entity.id, value: encodeEntity(entity) },
        ...pointers.map((key) => ({ type: "put", key, value: id }) as const),
      ],
    );
    return succeeded;
  }

  async #swap(
    stored: Stored,
    entity: Entity,
    options: { readonly free?: readonly Comparison[]; readonly besides?: readonly Write[] } = {},
  ): Promise<boolean> {
    const { free = [], besides = [] } = options;
    const { succeeded } = await this.#storage.transaction(
      [{ key: stored.key, modRevision: stored.modRevision }, ...free],
      [{ type: "put", key: stored.key, value: encodeEntity(entity) }, ...besides],
    );
    return succeeded;
  }

  async #follow(key: string): Promise<Entity | undefined> {
    const pointer = await this.#storage.get(key);
    return pointer === undefined ? undefined : this.find(text(pointer.value));
  }

  async #read(id: string): Promise<Stored | undefined> {
    if (!UUID.test(id)) return undefined;
    const key = ENTITY_PREFIX + id;
    const stored = await this.#storage.get(key);
    if (stored === undefined) return undefined;
    const { modRevision } = stored;
    const known = this.#decoded.get(id);
    if (known?.modRevision === modRevision) return known;
    const read = { key, modRevision, entity: decodeEntity(stored.value) };
    this.#decoded.set(id, read);
    return read;
  }
}

interface Stored {
  readonly key: string;
  readonly modRevision: number;
  readonly entity: Entity;
}

function newAlias(login: AliasLogin, nowMs: number): EntityAlias {
  return {
    ...login,
    id: randomUUID(),
    metadata: checked(login.metadata),
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
  };
}

/** Names of aliases are as long as the mounts make them. */
function aliasKey(mountAccessor: string, name: string): string {
  return `${ALIAS_PREFIX}${mountAccessor}/${createHash("sha256").update(name).digest("hex")}`;
}

function nameKey(name: string): string {
  return NAME_PREFIX + createHash("sha256").update(name.toLowerCase()).digest("hex");
}

function checkedName(name: string): string {
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  if (name !== "" && name.length <= MAX_NAME_CHARACTERS && !/[\u0000-\u001f\u007f/]/.test(name)) return name;
  throw new RksError("INPUT_INVALID", `entity name ${JSON.stringify(name.slice(0, 80))} is not possible`, {
    suggestion: `Use at most ${MAX_NAME_CHARACTERS} characters, and no slash.`,
  });
}

function checked(metadata: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const entries = Object.entries(metadata);
  const isSmall = entries.every(([key, value]) => key.length + value.length <= MAX_METADATA_CHARACTERS);
  if (entries.length <= MAX_METADATA_ENTRIES && isSmall) return { ...metadata };
  throw new RksError(
    "INPUT_INVALID",
    `metadata is larger than ${MAX_METADATA_ENTRIES} texts of ${MAX_METADATA_CHARACTERS} characters`,
    { suggestion: "Keep less with the entity." },
  );
}

function sorted(metadata: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(metadata).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

function noEntity(id: string): RksError {
  return new RksError("INPUT_INVALID", `there is no entity "${id.slice(0, 80)}"`, {
    suggestion: "List identity/entity/id.",
  });
}

function nameTaken(name: string): RksError {
  return new RksError("INPUT_INVALID", `an entity of the name "${name.slice(0, 80)}" exists already`, {
    suggestion: "Choose another name.",
  });
}

function busy(): RksError {
  return new RksError("BUSY", "the entity is being changed by too many requests at once", {
    suggestion: "Try again in a moment.",
  });
}
