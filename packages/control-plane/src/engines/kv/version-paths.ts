import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { FieldMeta } from "../../vault/field-types.js";
import { type BackendPath, operation, parameter, type PathOperation } from "../../vault/path-table.js";
import { deleteVersions } from "./data-paths.js";
import { MAX_DROPS, MAX_VERSIONS, withVersions } from "./versioned-secret.js";
import type { VersionedStore } from "./versioned-store.js";

/** `delete/…`, `undelete/…` and `destroy/…`: what can be done to versions by number. */
export function versionPaths(store: VersionedStore): readonly BackendPath[] {
  return [
    {
      pattern: "delete/*path",
      operations: {
        update: onVersions("Delete versions of a secret; they can be undeleted.", (path, versions) =>
          deleteVersions(store, path, versions),
        ),
      },
    },
    {
      pattern: "undelete/*path",
      operations: {
        update: onVersions("Take the deletion of versions back.", (path, versions) =>
          undelete(store, path, versions),
        ),
      },
    },
    {
      pattern: "destroy/*path",
      operations: {
        update: onVersions("Delete the data of versions for good.", (path, versions) =>
          destroy(store, path, versions),
        ),
      },
    },
  ];
}

/** Version numbers: a JSON array of numbers or texts, or one text with commas. */
const versionNumbers = z
  .unknown()
  .optional()
  .transform((value, context): readonly number[] => {
    const parts: unknown = typeof value === "string" ? value.split(",") : (value ?? []);
    const numbers = Array.isArray(parts) && parts.length <= MAX_VERSIONS ? parts.map(toVersion) : [NaN];
    if (!numbers.some(Number.isNaN)) return numbers;
    context.addIssue({ code: "custom", message: "expected version numbers", input: value });
    return z.NEVER;
  })
  .meta({ type: "array" } satisfies FieldMeta);

function toVersion(part: unknown): number {
  const number = typeof part === "string" && /^\s*\d{1,15}\s*$/.test(part) ? Number(part) : part;
  return typeof number === "number" && Number.isSafeInteger(number) && number > 0 ? number : NaN;
}

function onVersions(
  summary: string,
  action: (path: string, versions: readonly number[]) => Promise<void>,
): PathOperation {
  return operation({
    summary,
    fields: z.object({ versions: versionNumbers }),
    handle: async (request) => {
      const { versions } = request.fields;
      if (versions.length === 0) {
        throw new RksError("INPUT_INVALID", "no version number provided", {
          suggestion: `Name them, for example "versions": [1, 2].`,
        });
      }
      await action(parameter(request, "path"), versions);
      return undefined;
    },
  });
}

async function undelete(store: VersionedStore, path: string, wanted: readonly number[]): Promise<void> {
  await store.change(path, (secret) => {
    if (secret === undefined) return { result: undefined };
    const changed = withVersions(secret, wanted, (version) =>
      version.destroyed ? version : { ...version, deletionTime: null },
    );
    return { secret: changed, result: undefined };
  });
}

/** In as many transactions as it takes; after each of them what it says is destroyed is. */
async function destroy(store: VersionedStore, path: string, wanted: readonly number[]): Promise<void> {
  const chosen = new Set(wanted);
  for (let isDone = false; !isDone;) {
    isDone = await store.change(path, (secret) => {
      const alive = (secret?.versions ?? []).filter(
        ({ version, destroyed }) => !destroyed && chosen.has(version),
      );
      const drop = alive.slice(0, MAX_DROPS).map(({ version }) => version);
      if (secret === undefined || drop.length === 0) return { result: true };
      const changed = withVersions(secret, drop, (version) => ({ ...version, destroyed: true }));
      return { secret: changed, drop, result: alive.length === drop.length };
    });
  }
}
