import { type BackendPath, operation, parameter } from "../vault/path-table.js";
import type { PkiMount } from "./pki-mount.js";
import { parseRole, roleData } from "./role.js";

/** `roles` and `roles/:name`. */
export function rolePaths({ roles }: PkiMount): BackendPath[] {
  return [
    {
      pattern: "roles",
      operations: {
        list: operation({
          summary: "List the roles.",
          handle: async () => {
            const keys = await roles.list();
            return keys.length === 0 ? undefined : { data: { keys } };
          },
        }),
      },
    },
    {
      pattern: "roles/:name",
      exists: async ({ name = "" }) => (await roles.find(name)) !== undefined,
      operations: {
        read: operation({
          summary: "Read a role.",
          handle: async (request) => {
            const role = await roles.find(parameter(request, "name"));
            return role === undefined ? undefined : { data: roleData(role) };
          },
        }),
        update: {
          access: "token",
          summary: "Write a role.",
          fields: undefined,
          handle: async (request) => {
            const role = parseRole(request.data);
            await roles.put(parameter(request, "name"), role);
            return { data: roleData(role) };
          },
        },
        delete: operation({
          summary: "Delete a role.",
          handle: async (request) => {
            await roles.delete(parameter(request, "name"));
            return undefined;
          },
        }),
      },
    },
  ];
}
