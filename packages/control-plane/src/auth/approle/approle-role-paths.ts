import { z } from "zod";

import { requiredText } from "../../vault/field-types.js";
import { type BackendPath, operation, parameter } from "../../vault/path-table.js";
import { type RoleKind, rolePaths } from "../role-paths.js";
import {
  type ApproleRole,
  approleRole,
  describeRole,
  MAX_ROLE_ID_CHARACTERS,
  readRole,
  roleFields,
} from "./approle-role.js";
import type { ApproleStore } from "./approle-store.js";

/** `role` and `role/:name` with its `role-id`. */
export function approleRolePaths(store: ApproleStore): readonly BackendPath[] {
  const kind: RoleKind<ApproleRole, typeof roleFields> = {
    folder: "role",
    records: store.roles,
    fields: roleFields,
    read: async (fields, stored, name) => {
      const record = readRole(fields, stored);
      return {
        record,
        ...(await store.roleIdWrites(name, record, stored)),
        warnings:
          fields.local_secret_ids === true
            ? ["local_secret_ids has no effect: there are no clusters that secret ids could be copied to"]
            : [],
      };
    },
    describe: describeRole,
    remove: (name) => store.removeRole(name),
  };
  return [roleIdPath(store), ...rolePaths(kind)];
}

function roleIdPath(store: ApproleStore): BackendPath {
  return {
    pattern: "role/:name/role-id",
    operations: {
      read: operation({
        summary: "Read the id that names the role in a login.",
        handle: async (request) => {
          const stored = await store.roles.read(parameter(request, "name"));
          return stored === undefined ? undefined : { data: { role_id: stored.record.roleId } };
        },
      }),
      update: operation({
        summary: "Choose the id that names the role in a login.",
        fields: z.object({ role_id: requiredText({ maxCharacters: MAX_ROLE_ID_CHARACTERS }) }),
        handle: async (request) => {
          const name = parameter(request, "name");
          await store.requireRole(name);
          await store.roles.change(name, async (stored) => {
            if (stored === undefined) return {};
            const record = approleRole.parse({ ...stored, roleId: request.fields.role_id });
            return { record, ...(await store.roleIdWrites(name, record, stored)) };
          });
          return undefined;
        },
      }),
    },
  };
}
