import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { Answer, JsonObject } from "../vault/backend.js";
import { integer, text } from "../vault/field-types.js";
import { type BackendPath, operation, parameter, type PathOperation } from "../vault/path-table.js";
import type { RecordChange, StoredRecords } from "./stored-records.js";

const ROLE_NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9_])?$/;

/** What a login method's roles are made of. */
export interface RoleKind<Role extends object, Schema extends z.ZodObject> {
  /** `role`, or `certs`. */
  readonly folder: string;
  readonly records: StoredRecords<Role>;
  readonly fields: Schema;
  /** Put what was sent over what the role was; throws what is wrong with it. */
  readonly read: (
    fields: z.output<Schema>,
    stored: Role | undefined,
    name: string,
  ) => ReadRole<Role> | Promise<ReadRole<Role>>;
  readonly describe: (role: Role) => JsonObject;
  /** What goes with a role that is deleted; nothing when not given. */
  readonly remove?: (name: string) => Promise<void>;
  /** Called when a change of any role is durable. */
  readonly onChange?: () => void;
}

/** A role as it is to be kept. */
export interface ReadRole<Role extends object> extends RecordChange<Role> {
  readonly record: Role;
  /** What of the request has no effect. */
  readonly warnings?: readonly string[];
}

/** The paths of a login method's roles: list, read, write (fields that are not sent stay as they are), delete. */
export function rolePaths<Role extends object, Schema extends z.ZodObject>(
  kind: RoleKind<Role, Schema>,
): readonly BackendPath[] {
  const { folder, records, describe } = kind;
  return [
    { pattern: folder, operations: { list: listing(records) } },
    {
      pattern: `${folder}/:name`,
      exists: async ({ name = "" }) => (await records.read(name)) !== undefined,
      operations: {
        read: operation({
          summary: "Read a role.",
          handle: async (request) => {
            const stored = await records.read(roleName(parameter(request, "name")));
            return stored === undefined ? undefined : { data: describe(stored.record) };
          },
        }),
        update: operation({
          summary: "Make a role or change it.",
          fields: kind.fields,
          handle: (request) => write(kind, roleName(parameter(request, "name")), request.fields),
        }),
        delete: operation({
          summary: "Delete a role; tokens that it gave are not renewed any more.",
          handle: async (request) => {
            const name = roleName(parameter(request, "name"));
            if (kind.remove !== undefined) await kind.remove(name);
            else await records.storage.transaction([], [records.delete(name)]);
            kind.onChange?.();
            return undefined;
          },
        }),
      },
    },
  ];
}

/** @throws {RksError} INPUT_INVALID when no role can have the name. */
export function roleName(name: string): string {
  if (ROLE_NAME.test(name)) return name;
  throw new RksError("INPUT_INVALID", `role name ${JSON.stringify(name.slice(0, 80))} is not allowed`, {
    suggestion: "Use letters, digits, underscores, inner hyphens and dots, at most 128.",
  });
}

async function write<Role extends object, Schema extends z.ZodObject>(
  kind: RoleKind<Role, Schema>,
  name: string,
  fields: z.output<Schema>,
): Promise<Answer | undefined> {
  let warnings: readonly string[] = [];
  await kind.records.change(name, async (stored) => {
    const change = await kind.read(fields, stored, name);
    warnings = change.warnings ?? [];
    return change;
  });
  kind.onChange?.();
  return warnings.length === 0 ? undefined : { warnings };
}

function listing<Role extends object>(records: StoredRecords<Role>): PathOperation {
  return operation({
    summary: "List the roles.",
    fields: z.object({ after: text(""), limit: integer(0) }),
    handle: async ({ fields }) => {
      const names = (await records.names()).filter((name) => name > fields.after);
      const keys = fields.limit > 0 ? names.slice(0, fields.limit) : names;
      return keys.length === 0 ? undefined : { data: { keys } };
    },
  });
}
