import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { JsonObject } from "../backend.js";
import type { PolicyIdentity } from "../policy/policy.js";

const metadata = z.record(z.string(), z.string()).readonly();

const entityAlias = z.object({
  id: z.string(),
  mountAccessor: z.string(),
  mountPath: z.string(),
  mountType: z.string(),
  name: z.string(),
  metadata,
  createdAtMs: z.int(),
  updatedAtMs: z.int(),
});
const entity = z.object({
  version: z.literal(1),
  id: z.string(),
  name: z.string(),
  metadata,
  disabled: z.boolean(),
  aliases: z.array(entityAlias.readonly()).readonly(),
  createdAtMs: z.int(),
  updatedAtMs: z.int(),
});

/** What one login mount calls an entity. */
export type EntityAlias = Readonly<z.output<typeof entityAlias>>;
/** Somebody who logs in, by whichever of the mounts. */
export type Entity = Readonly<z.output<typeof entity>>;

export function encodeEntity(value: Entity): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

/** @throws {RksError} STORAGE_CORRUPT */
export function decodeEntity(bytes: Uint8Array): Entity {
  try {
    return entity.parse(JSON.parse(Buffer.from(bytes).toString()));
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", "an entity has a form that is not known", {
      suggestion: "Use the version of rks that wrote the data folder.",
      cause,
    });
  }
}

/** What policies can name of an entity. */
export function policyIdentity({ id, name, metadata: own, aliases }: Entity): PolicyIdentity {
  return { id, name, metadata: own, aliases };
}

/** The data of an entity's answer. */
export function describeEntity(value: Entity): JsonObject {
  return {
    id: value.id,
    name: value.name,
    metadata: Object.keys(value.metadata).length === 0 ? null : value.metadata,
    disabled: value.disabled,
    policies: [],
    aliases: value.aliases.map((alias) => describeAlias(value, alias)),
    creation_time: new Date(value.createdAtMs).toISOString(),
    last_update_time: new Date(value.updatedAtMs).toISOString(),
    direct_group_ids: [],
    group_ids: [],
    inherited_group_ids: [],
    merged_entity_ids: null,
    namespace_id: "root",
  };
}

/** The data of an alias's answer. */
export function describeAlias(value: Entity, alias: EntityAlias): JsonObject {
  return {
    id: alias.id,
    canonical_id: value.id,
    mount_accessor: alias.mountAccessor,
    mount_path: alias.mountPath,
    mount_type: alias.mountType,
    name: alias.name,
    metadata: Object.keys(alias.metadata).length === 0 ? null : alias.metadata,
    creation_time: new Date(alias.createdAtMs).toISOString(),
    last_update_time: new Date(alias.updatedAtMs).toISOString(),
  };
}
