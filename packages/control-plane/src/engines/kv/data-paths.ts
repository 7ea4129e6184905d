import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { Answer, JsonObject } from "../../vault/backend.js";
import { count, object } from "../../vault/field-types.js";
import { type BackendPath, mergePatch, operation, parameter } from "../../vault/path-table.js";
import { encodeSecret } from "./secret-value.js";
import {
  describeVersion,
  findVersion,
  iso,
  isReadable,
  newSecret,
  type VersionedConfig,
  type VersionedSecret,
  withNextVersion,
  withVersions,
} from "./versioned-secret.js";
import type { SecretChange, VersionedStore } from "./versioned-store.js";

const writeFields = z.object({ data: object(), options: object() });
const readFields = z.object({ version: count(0) });

/** `data/…`: read a version, write the next one, patch into the next one, delete the newest. */
export function dataPaths(store: VersionedStore): readonly BackendPath[] {
  return [
    {
      pattern: "data/*path",
      exists: async ({ path = "" }) => (await store.find(path)) !== undefined,
      operations: {
        read: operation({
          summary: "Read a version of a secret.",
          fields: readFields,
          handle: (request) =>
            readVersion(store, parameter(request, "path"), request.fields.version, (data) => ({ data })),
        }),
        update: operation({
          summary: "Write the next version of a secret.",
          fields: writeFields,
          handle: (request) => write(store, parameter(request, "path"), request.fields),
        }),
        patch: operation({
          summary: "Write the next version of a secret as a change to the newest one.",
          fields: writeFields,
          handle: (request) => patch(store, parameter(request, "path"), request.fields),
        }),
        delete: operation({
          summary: "Delete the newest version of a secret; it can be undeleted.",
          handle: async (request) => {
            await deleteVersions(store, parameter(request, "path"), [0]);
            return undefined;
          },
        }),
      },
    },
  ];
}

/**
 * Answer with a version's metadata and what `describe` makes of its data. A version that is deleted is a 404 that still
 * says when that happened.
 */
export async function readVersion(
  store: VersionedStore,
  path: string,
  wanted: number,
  describe: (data: JsonObject | null) => JsonObject,
): Promise<Answer | undefined> {
  let gone: Answer | undefined;
  const found = await store.findData(path, (secret) => {
    const version = findVersion(secret, wanted);
    if (version === undefined) return undefined;
    const metadata = describeVersion(secret, version);
    if (isReadable(version, store.clock.now())) return { version: version.version, metadata };
    gone = { data: { ...describe(null), metadata }, status: 404 };
    return undefined;
  });
  if (found === undefined) return gone;
  return { data: { ...describe(found.data), metadata: found.picked.metadata } };
}

/** Mark versions as deleted, 0 being the newest one; those that are deleted already stay as they are. */
export async function deleteVersions(
  store: VersionedStore,
  path: string,
  wanted: readonly number[],
): Promise<void> {
  await store.change(path, (secret) => {
    if (secret === undefined) return { result: undefined };
    const nowMs = store.clock.now();
    const numbers = wanted.map((version) => (version === 0 ? secret.currentVersion : version));
    const changed = withVersions(secret, numbers, (version) =>
      isReadable(version, nowMs) ? { ...version, deletionTime: iso(nowMs) } : version,
    );
    return { secret: { ...changed, updatedTime: iso(nowMs) }, result: undefined };
  });
}

type WriteFields = z.output<typeof writeFields>;

async function write(store: VersionedStore, path: string, fields: WriteFields): Promise<Answer> {
  const { data } = fields;
  if (data === undefined) throw noData(path);
  const bytes = encodeSecret(path, data);
  const config = await store.config();
  return store.change(path, (secret = newSecret(store.clock.now())) => {
    assertCheckAndSet(path, secret, config, fields.options);
    return nextVersion(store, secret, config, bytes);
  });
}

async function patch(store: VersionedStore, path: string, fields: WriteFields): Promise<Answer | undefined> {
  const { data: changes } = fields;
  if (changes === undefined) throw noData(path);
  encodeSecret(path, changes);
  const config = await store.config();
  return store.change<Answer | undefined>(path, async (secret) => {
    const newest = secret === undefined ? undefined : findVersion(secret, 0);
    if (secret === undefined || newest === undefined) return { result: undefined };
    assertCheckAndSet(path, secret, config, fields.options);
    if (!isReadable(newest, store.clock.now())) {
      return { result: { data: { data: null, metadata: describeVersion(secret, newest) }, status: 404 } };
    }
    const stored = await store.findData(path, (now) => {
      const same = findVersion(now, newest.version);
      return same !== undefined && isReadable(same, store.clock.now()) ? same : undefined;
    });
    // Gone meanwhile: writing the secret as it was read fails then, and all of this is done again.
    if (stored === undefined) return { secret, result: undefined };
    return nextVersion(store, secret, config, encodeSecret(path, mergePatch(stored.data, changes)));
  });
}

function nextVersion(
  store: VersionedStore,
  before: VersionedSecret,
  config: VersionedConfig,
  data: Uint8Array,
): SecretChange<Answer> {
  const { secret, added, drop } = withNextVersion(before, config, store.clock.now());
  return {
    secret,
    put: { version: added.version, data },
    drop,
    result: { data: describeVersion(secret, added) },
  };
}

/** Vault's check-and-set: the writer says which version it read last, 0 meaning that there was none. */
function assertCheckAndSet(
  path: string,
  secret: VersionedSecret,
  config: VersionedConfig,
  options: JsonObject | undefined,
): void {
  const shown = path.slice(0, 120);
  const cas = count().safeParse(options?.["cas"]);
  if (!cas.success) {
    throw new RksError(
      "INPUT_INVALID",
      `the check-and-set parameter for "${shown}" is not a version number`,
      {
        suggestion: "Set options.cas to the version that was read, 0 for none.",
      },
    );
  }
  if (cas.data === undefined && (secret.casRequired || config.casRequired)) {
    throw new RksError("INPUT_INVALID", `check-and-set parameter required for this call on "${shown}"`, {
      suggestion: "Set options.cas to the version that was read, 0 for none.",
    });
  }
  if (cas.data === undefined || cas.data === secret.currentVersion) return;
  throw new RksError(
    "INPUT_INVALID",
    `check-and-set parameter did not match the current version of "${shown}"`,
    { suggestion: "Read the secret again and repeat the change on what it is now." },
  );
}

function noData(path: string): RksError {
  return new RksError("INPUT_INVALID", `no data provided for "${path.slice(0, 120)}"`, {
    suggestion: `Send the secret in an object named "data".`,
  });
}
