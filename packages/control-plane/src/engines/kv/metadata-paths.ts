import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { JsonObject } from "../../vault/backend.js";
import { count, duration, flag, object } from "../../vault/field-types.js";
import { type BackendPath, mergePatch, operation, parameter } from "../../vault/path-table.js";
import { readCustomMetadata } from "./custom-metadata.js";
import { folderFields, listFolder, scanFolder } from "./secret-folder.js";
import {
  describeSecret,
  goDuration,
  iso,
  MAX_DROPS,
  MAX_VERSIONS,
  newSecret,
  type VersionedSecret,
  withVersions,
} from "./versioned-secret.js";
import type { VersionedStore } from "./versioned-store.js";

const settings = { max_versions: count(), cas_required: flag(), delete_version_after: duration() };
const metadataFields = z.object({ ...settings, custom_metadata: object() });

/** `config`, `metadata` and what is below it: settings of the mount and of each secret, listings, removal. */
export function metadataPaths(store: VersionedStore): readonly BackendPath[] {
  const list = operation({
    summary: "List the secrets and folders in a folder.",
    fields: folderFields,
    handle: ({ parameters, fields }) =>
      listFolder(store.storage, store.secretsPrefix, parameters["path"] ?? "", fields),
  });
  const scan = operation({
    summary: "List everything below a folder.",
    fields: folderFields,
    handle: ({ parameters, fields }) =>
      scanFolder(store.storage, store.secretsPrefix, parameters["path"] ?? "", fields),
  });
  return [
    configPath(store),
    { pattern: "metadata", operations: { list, scan } },
    {
      pattern: "metadata/*path",
      exists: async ({ path = "" }) => (await store.find(path)) !== undefined,
      operations: {
        list,
        scan,
        read: operation({
          summary: "Read the settings and versions of a secret.",
          handle: async (request) => {
            const secret = await store.find(parameter(request, "path"));
            return secret === undefined ? undefined : { data: describeSecret(secret) };
          },
        }),
        update: operation({
          summary: "Change the settings of a secret; makes one without versions where there is none.",
          fields: metadataFields,
          handle: async (request) => {
            const path = parameter(request, "path");
            await store.change(path, (secret = newSecret(store.clock.now())) => ({
              secret: withSettings(store, secret, request.fields, request.fields.custom_metadata),
              result: undefined,
            }));
            return undefined;
          },
        }),
        patch: operation({
          summary: "Change the settings of a secret that is there.",
          fields: metadataFields,
          handle: async (request) => {
            const { fields } = request;
            const path = parameter(request, "path");
            await store.change(path, (secret) => {
              if (secret === undefined) throw noSecret(path);
              const given = fields.custom_metadata;
              const custom = given === undefined ? undefined : mergePatch(secret.customMetadata ?? {}, given);
              return {
                secret: withSettings(store, secret, { ...fields, ...cleared(request.data) }, custom),
                result: undefined,
              };
            });
            return undefined;
          },
        }),
        delete: operation({
          summary: "Delete a secret with all its versions for good.",
          handle: async (request) => {
            await remove(store, parameter(request, "path"));
            return undefined;
          },
        }),
      },
    },
  ];
}

function configPath(store: VersionedStore): BackendPath {
  return {
    pattern: "config",
    operations: {
      read: operation({
        summary: "Read what applies to all secrets of the mount.",
        handle: async () => {
          const config = await store.config();
          return {
            data: {
              cas_required: config.casRequired,
              delete_version_after: goDuration(config.deleteVersionAfterSeconds),
              max_versions: config.maxVersions,
            },
          };
        },
      }),
      update: operation({
        summary: "Change what applies to all secrets of the mount.",
        fields: z.object(settings),
        handle: async ({ fields }) => {
          const config = await store.config();
          assertMaxVersions(fields.max_versions);
          await store.saveConfig({
            maxVersions: fields.max_versions ?? config.maxVersions,
            casRequired: fields.cas_required ?? config.casRequired,
            deleteVersionAfterSeconds: fields.delete_version_after ?? config.deleteVersionAfterSeconds,
          });
          return undefined;
        },
      }),
    },
  };
}

type Settings = Pick<z.output<typeof metadataFields>, keyof typeof settings>;

function withSettings(
  store: VersionedStore,
  secret: VersionedSecret,
  given: Settings,
  customMetadata: JsonObject | undefined,
): VersionedSecret {
  assertMaxVersions(given.max_versions);
  return {
    ...secret,
    maxVersions: given.max_versions ?? secret.maxVersions,
    casRequired: given.cas_required ?? secret.casRequired,
    deleteVersionAfterSeconds: given.delete_version_after ?? secret.deleteVersionAfterSeconds,
    customMetadata: customMetadata === undefined ? secret.customMetadata : readCustomMetadata(customMetadata),
    updatedTime: iso(store.clock.now()),
  };
}

/** In a merge patch null takes a setting away (RFC 7396). */
function cleared(data: JsonObject): Partial<Settings> {
  return {
    ...(data["max_versions"] === null ? { max_versions: 0 } : {}),
    ...(data["cas_required"] === null ? { cas_required: false } : {}),
    ...(data["delete_version_after"] === null ? { delete_version_after: 0 } : {}),
  };
}

/** A secret with very many versions goes in several transactions, oldest versions first, and itself with the last. */
async function remove(store: VersionedStore, path: string): Promise<void> {
  for (let isGone = false; !isGone;) {
    isGone = await store.change(path, (secret) => {
      if (secret === undefined) return { result: true };
      const alive = secret.versions.filter(({ destroyed }) => !destroyed).map(({ version }) => version);
      const drop = alive.slice(0, MAX_DROPS);
      if (drop.length === alive.length) return { secret: null, drop, result: true };
      const changed = withVersions(secret, drop, (version) => ({ ...version, destroyed: true }));
      return { secret: changed, drop, result: false };
    });
  }
}

function assertMaxVersions(maxVersions: number | undefined): void {
  if (maxVersions === undefined || maxVersions <= MAX_VERSIONS) return;
  throw new RksError("INPUT_INVALID", `"max_versions" of ${maxVersions} is more than ${MAX_VERSIONS}`, {
    suggestion: `Keep at most ${MAX_VERSIONS} versions.`,
  });
}

function noSecret(path: string): RksError {
  return new RksError("NOT_FOUND", `there is no secret at "${path.slice(0, 120)}"`, {
    suggestion: "Write it first.",
  });
}
