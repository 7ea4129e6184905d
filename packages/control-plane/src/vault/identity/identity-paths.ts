import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { Answer, JsonObject } from "../backend.js";
import { flag, text, texts } from "../field-types.js";
import { type BackendPath, operation, parameter, PathTable } from "../path-table.js";
import { describeAlias, describeEntity, type Entity, type EntityAlias } from "./entity.js";
import type { EntityStore } from "./entity-store.js";

const changes = { name: text(), metadata: texts(), disabled: flag() };

/** The paths under `identity/`. */
export function identityPaths(entities: EntityStore): PathTable {
  return new PathTable([
    {
      pattern: "entity",
      operations: {
        update: operation({
          summary: "Make an entity, or change the one of the id or name.",
          fields: z.object({ ...changes, id: text("") }),
          handle: async ({ fields: { id, ...change } }) => {
            const entity = id === "" ? await entities.write(change) : await entities.update(id, change);
            return { data: { id: entity.id, name: entity.name, aliases: null } };
          },
        }),
      },
    },
    ...entityPaths(entities, {
      path: "entity/id",
      find: (id) => entities.find(id),
      key: ({ id }) => id,
      info: ({ name }) => ({ name }),
    }),
    ...entityPaths(entities, {
      path: "entity/name",
      find: (name) => entities.findByName(name),
      key: ({ name }) => name,
      info: ({ id }) => ({ id }),
    }),
    ...aliasPaths(entities),
    {
      pattern: "lookup/entity",
      operations: {
        update: operation({
          summary: "Find an entity by its id, its name or one of its aliases.",
          fields: z.object({
            id: text(""),
            name: text(""),
            alias_id: text(""),
            alias_name: text(""),
            alias_mount_accessor: text(""),
          }),
          handle: async ({ fields }) => {
            const { id, name, alias_id, alias_name, alias_mount_accessor } = fields;
            if (id !== "") return describe(await entities.find(id));
            if (name !== "") return describe(await entities.findByName(name));
            if (alias_id !== "") return describe(await entities.findByAliasId(alias_id));
            if (alias_name !== "" && alias_mount_accessor !== "") {
              return describe(await entities.findByAlias(alias_mount_accessor, alias_name));
            }
            throw new RksError("INPUT_INVALID", "the request names no entity", {
              suggestion: "Give id, name, alias_id, or alias_name with alias_mount_accessor.",
            });
          },
        }),
      },
    },
  ]);
}

interface Naming {
  readonly path: string;
  readonly find: (name: string) => Promise<Entity | undefined>;
  /** How the entity is called here. */
  readonly key: (entity: Entity) => string;
  readonly info: (entity: Entity) => JsonObject;
}

function entityPaths(entities: EntityStore, naming: Naming): readonly BackendPath[] {
  const { path, find } = naming;
  return [
    {
      pattern: path,
      operations: {
        list: operation({
          summary: "List the entities.",
          handle: async () => {
            const found: Entity[] = [];
            for await (const entity of entities.all()) found.push(entity);
            return keysOf(found.map((entity) => [naming.key(entity), naming.info(entity)]));
          },
        }),
      },
    },
    {
      pattern: `${path}/:entity`,
      exists: async ({ entity = "" }) => (await find(entity)) !== undefined,
      operations: {
        read: operation({
          summary: "Read an entity.",
          handle: async (request) => describe(await find(parameter(request, "entity"))),
        }),
        update: operation({
          summary: "Change an entity; one that is not there is made where it is named.",
          fields: z.object(changes),
          handle: async (request) => {
            const name = parameter(request, "entity");
            const entity = await find(name);
            if (entity !== undefined) await entities.update(entity.id, request.fields);
            else if (path === "entity/name") await entities.write({ ...request.fields, name });
            else await entities.update(name, request.fields);
            return undefined;
          },
        }),
        delete: operation({
          summary: "Delete an entity; its tokens are refused from then on.",
          handle: async (request) => {
            const entity = await find(parameter(request, "entity"));
            if (entity !== undefined) await entities.delete(entity.id);
            return undefined;
          },
        }),
      },
    },
  ];
}

function aliasPaths(entities: EntityStore): readonly BackendPath[] {
  return [
    {
      pattern: "entity-alias/id",
      operations: {
        list: operation({
          summary: "List what login methods call the entities.",
          handle: async () => {
            const found: [string, JsonObject][] = [];
            for await (const entity of entities.all()) {
              for (const alias of entity.aliases) found.push([alias.id, aliasInfo(entity, alias)]);
            }
            return keysOf(found);
          },
        }),
      },
    },
    {
      pattern: "entity-alias/id/:alias",
      operations: {
        read: operation({
          summary: "Read what a login method calls an entity.",
          handle: async (request) => {
            const id = parameter(request, "alias");
            const entity = await entities.findByAliasId(id);
            const alias = entity?.aliases.find((own) => own.id === id);
            return entity === undefined || alias === undefined
              ? undefined
              : { data: describeAlias(entity, alias) };
          },
        }),
      },
    },
  ];
}

function aliasInfo(entity: Entity, { name, mountAccessor, mountPath, mountType }: EntityAlias): JsonObject {
  return {
    name,
    canonical_id: entity.id,
    mount_accessor: mountAccessor,
    mount_path: mountPath,
    mount_type: mountType,
  };
}

function keysOf(found: readonly (readonly [string, JsonObject])[]): Answer | undefined {
  if (found.length === 0) return undefined;
  const ordered = found.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return { data: { keys: ordered.map(([key]) => key), key_info: Object.fromEntries(ordered) } };
}

function describe(entity: Entity | undefined): Answer | undefined {
  return entity === undefined ? undefined : { data: describeEntity(entity) };
}
