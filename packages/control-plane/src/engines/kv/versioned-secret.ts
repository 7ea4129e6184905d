import { z } from "zod";

import type { JsonObject } from "../../vault/backend.js";

/** Versions that are kept where nobody says otherwise, as in Vault. */
const DEFAULT_MAX_VERSIONS = 10;
/** Each write rewrites the list of versions. */
export const MAX_VERSIONS = 1000;
/** Old versions that one transaction deletes; what is left over goes with the next. */
export const MAX_DROPS = 100;

const secretVersion = z.object({
  version: z.int().min(1),
  createdTime: z.iso.datetime(),
  /** When it counts as deleted; may lie ahead. */
  deletionTime: z.iso.datetime().nullable(),
  /** Whether its data is gone for good. */
  destroyed: z.boolean(),
});

/** What is known of one version, besides its data. */
export type SecretVersion = Readonly<z.infer<typeof secretVersion>>;

/** What is known of a secret with versions, besides the data of these. */
export const versionedSecret = z.object({
  createdTime: z.iso.datetime(),
  updatedTime: z.iso.datetime(),
  /** 0: none was written yet. */
  currentVersion: z.int().min(0),
  /** 0: the mount's. */
  maxVersions: z.int().min(0),
  casRequired: z.boolean(),
  /** 0: the mount's. */
  deleteVersionAfterSeconds: z.int().min(0),
  customMetadata: z.record(z.string(), z.string()).nullable(),
  /** Ascending. */
  versions: z.array(secretVersion).readonly(),
});
export type VersionedSecret = Readonly<z.infer<typeof versionedSecret>>;

/** What a mount says about all its secrets; 0 and false: nothing. */
export const versionedConfig = z.object({
  maxVersions: z.int().min(0),
  casRequired: z.boolean(),
  deleteVersionAfterSeconds: z.int().min(0),
});
export type VersionedConfig = Readonly<z.infer<typeof versionedConfig>>;

/** A secret without versions. */
export function newSecret(nowMs: number): VersionedSecret {
  const now = iso(nowMs);
  return {
    createdTime: now,
    updatedTime: now,
    currentVersion: 0,
    maxVersions: 0,
    casRequired: false,
    deleteVersionAfterSeconds: 0,
    customMetadata: null,
    versions: [],
  };
}

/** The secret with one more version; the oldest ones, whose data is to be dropped, go when there are too many. */
export function withNextVersion(
  secret: VersionedSecret,
  config: VersionedConfig,
  nowMs: number,
): { readonly secret: VersionedSecret; readonly added: SecretVersion; readonly drop: readonly number[] } {
  const lifetime = shortest(secret.deleteVersionAfterSeconds, config.deleteVersionAfterSeconds);
  const added: SecretVersion = {
    version: secret.currentVersion + 1,
    createdTime: iso(nowMs),
    deletionTime: lifetime === 0 ? null : iso(nowMs + lifetime * 1000),
    destroyed: false,
  };
  const most = secret.maxVersions || config.maxVersions || DEFAULT_MAX_VERSIONS;
  const all = [...secret.versions, added];
  const excess = Math.min(Math.max(0, all.length - most), MAX_DROPS);
  const changed = {
    ...secret,
    currentVersion: added.version,
    updatedTime: added.createdTime,
    versions: all.slice(excess),
  };
  return { secret: changed, added, drop: all.slice(0, excess).map(({ version }) => version) };
}

/** The secret with some of its versions changed. */
export function withVersions(
  secret: VersionedSecret,
  wanted: readonly number[],
  change: (version: SecretVersion) => SecretVersion,
): VersionedSecret {
  const chosen = new Set(wanted);
  const versions = secret.versions.map((version) =>
    chosen.has(version.version) ? change(version) : version,
  );
  return { ...secret, versions };
}

/** A version by number, 0 being the newest. */
export function findVersion(secret: VersionedSecret, wanted: number): SecretVersion | undefined {
  const number = wanted === 0 ? secret.currentVersion : wanted;
  return secret.versions.find(({ version }) => version === number);
}

/** Whether a version's data may be read. */
export function isReadable(version: SecretVersion, nowMs: number): boolean {
  return !version.destroyed && !(version.deletionTime !== null && Date.parse(version.deletionTime) <= nowMs);
}

/** A version in Vault's words, as it stands beside its data. */
export function describeVersion(secret: VersionedSecret, version: SecretVersion): JsonObject {
  return {
    created_time: version.createdTime,
    custom_metadata: secret.customMetadata,
    deletion_time: version.deletionTime ?? "",
    destroyed: version.destroyed,
    version: version.version,
  };
}

/** A secret in Vault's words. */
export function describeSecret(secret: VersionedSecret): JsonObject {
  const versions = secret.versions.map(({ version, createdTime, deletionTime, destroyed }) => [
    String(version),
    { created_time: createdTime, deletion_time: deletionTime ?? "", destroyed },
  ]);
  return {
    cas_required: secret.casRequired,
    created_time: secret.createdTime,
    current_version: secret.currentVersion,
    custom_metadata: secret.customMetadata,
    delete_version_after: goDuration(secret.deleteVersionAfterSeconds),
    max_versions: secret.maxVersions,
    oldest_version: secret.versions[0]?.version ?? 0,
    updated_time: secret.updatedTime,
    versions: Object.fromEntries(versions),
  };
}

/** A duration as Go prints it: `3h25m19s`, `1m0s`, `0s`. */
export function goDuration(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours > 0) return `${hours}h${minutes}m${seconds % 60}s`;
  return minutes > 0 ? `${minutes}m${seconds % 60}s` : `${seconds}s`;
}

/** 0 stands for none. */
function shortest(one: number, other: number): number {
  return one === 0 || other === 0 ? one + other : Math.min(one, other);
}

/** RFC 3339 in UTC. */
export function iso(ms: number): string {
  return new Date(ms).toISOString();
}
