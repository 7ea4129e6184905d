import { z } from "zod";

import type { JsonObject } from "../../vault/backend.js";
import { count } from "../../vault/field-types.js";
import { type BackendPath, operation, parameter } from "../../vault/path-table.js";
import { readVersion } from "./data-paths.js";
import type { VersionedStore } from "./versioned-store.js";

/** `subkeys/…`: the names in a secret without their values. */
export function subkeyPaths(store: VersionedStore): readonly BackendPath[] {
  return [
    {
      pattern: "subkeys/*path",
      operations: {
        read: operation({
          summary: "Read the names in a version of a secret, every value replaced by null.",
          fields: z.object({ version: count(0), depth: count(0) }),
          handle: (request) => {
            const { version, depth } = request.fields;
            return readVersion(store, parameter(request, "path"), version, (data) => ({
              subkeys: data === null ? null : names(data, depth === 0 ? Infinity : depth),
            }));
          },
        }),
      },
    },
  ];
}

/** How deep a secret can be is bounded where it is written. */
function names(data: JsonObject, depth: number): JsonObject {
  return Object.fromEntries(
    Object.entries(data).map(([name, value]) => [
      name,
      isFolder(value, depth) ? names(value, depth - 1) : null,
    ]),
  );
}

function isFolder(value: unknown, depth: number): value is JsonObject {
  if (depth <= 1 || typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.keys(value).length > 0;
}
