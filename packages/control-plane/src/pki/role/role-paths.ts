import { RksError } from "@rk8s/protocol";
import { z } from "zod";
import type { Answer, JsonObject } from "../../vault/backend.js";
import { count, text } from "../../vault/field-types.js";
import { type BackendPath, mergePatch, operation, parameter } from "../../vault/path-table.js";
import type { IssuerStore } from "../issuer/issuer-store.js";
import { parseRole, roleData, roleWarnings } from "./role.js";
import { type PkiRole, roleSchema } from "./role-fields.js";
import type { RoleStore } from "./role-store.js";

interface RoleMount {
  readonly roles: RoleStore;
  readonly issuers: Pick<IssuerStore, "find">;
}

const listFields = z.object({
  /** Names after this one. */
  after: text(""),
  /** At most so many; 0: all. */
  limit: count(0),
});

/** `roles` and `roles/:name`. A write answers with the role, as OpenBao. */
export function rolePaths(pki: RoleMount): BackendPath[] {
  const { roles } = pki;
  return [
    {
      pattern: "roles",
      operations: {
        list: operation({
          summary: "List the roles.",
          fields: listFields,
          handle: async ({ fields }) => {
            const keys = await roles.list(fields);
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
            const stored = await roles.find(parameter(request, "name"));
            return stored === undefined ? undefined : { data: roleData(stored.role) };
          },
        }),
        update: operation({
          summary: "Write a role; what is left out gets its default.",
          fields: roleSchema,
          handle: async (request) => {
            const role = parseRole(request.data);
            await roles.put(parameter(request, "name"), role);
            return written(pki, role, request.fields);
          },
        }),
        patch: operation({
          summary: "Change fields of a role; null gives a field its default.",
          fields: roleSchema,
          handle: async (request) => {
            const name = parameter(request, "name");
            const stored = await roles.find(name);
            if (stored === undefined) throw nothingToPatch(name);
            const data = mergePatch(roleData(stored.role), known(request.data));
            const role = parseRole(data);
            await roles.put(name, role, stored.modRevision);
            return written(pki, role, { generate_lease: data["generate_lease"] === true });
          },
        }),
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

function written({ issuers }: RoleMount, role: PkiRole, asked: { readonly generate_lease: boolean }): Answer {
  const { issuer_ref: reference } = role;
  const warnings = roleWarnings(role, asked);
  if (issuers.find(reference) === undefined) {
    warnings.push(
      reference === "default"
        ? "Issuing Certificate was set to default, but no default issuing certificate (configurable at /config/issuers) is currently set"
        : `Issuing Certificate was set to ${reference} but no issuing certificate currently has that name`,
    );
  }
  return { data: roleData(role), warnings };
}

/** Only what is a role's: everything else is warned of and must not be kept. */
function known(data: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(data).filter(([name]) => Object.hasOwn(roleSchema.shape, name)));
}

function nothingToPatch(name: string): RksError {
  return new RksError("INPUT_INVALID", `there is no role "${name}" to patch`, {
    suggestion: `Write the role first: roles/${name}.`,
  });
}
