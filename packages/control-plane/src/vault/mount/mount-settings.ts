import { randomBytes, randomUUID } from "node:crypto";

import { RksError } from "@rk8s/protocol";

import type { MountInit } from "../backend.js";
import { isAuthPath } from "./mount-path.js";
import type { MountEntry } from "./mount-table.js";

/** Vault's defaults: 32 days. */
export const SYSTEM_MAX_TTL_SECONDS = 768 * 3600;
const SYSTEM_DEFAULT_TTL_SECONDS = 768 * 3600;

/** What can be changed about a mount at any time. What is not named stays. */
export interface MountTuning {
  readonly description?: string | undefined;
  /** Seconds; 0: the system's. */
  readonly defaultTtlSeconds?: number | undefined;
  readonly maxTtlSeconds?: number | undefined;
  readonly forceNoCache?: boolean | undefined;
  readonly listingVisibility?: MountEntry["listingVisibility"] | undefined;
  readonly auditNonHmacRequestKeys?: readonly string[] | undefined;
  readonly auditNonHmacResponseKeys?: readonly string[] | undefined;
  readonly passthroughRequestHeaders?: readonly string[] | undefined;
  readonly allowedResponseHeaders?: readonly string[] | undefined;
  readonly tokenType?: MountEntry["tokenType"] | undefined;
}

/** What a caller chooses when a mount is made. */
export interface MountOptions extends MountTuning {
  /** What the engine is told besides. Cannot be changed later. */
  readonly options?: Readonly<Record<string, string>> | undefined;
  readonly local?: boolean | undefined;
  readonly sealWrap?: boolean | undefined;
}

/** A mount that is to be made. @throws {RksError} INPUT_INVALID for lifetimes that contradict each other. */
export function newMountEntry(path: string, type: string, options: MountOptions): MountEntry {
  const entry: MountEntry = {
    path,
    type,
    uuid: randomUUID(),
    accessor: `${isAuthPath(path) ? "auth_" : ""}${type}_${randomBytes(4).toString("hex")}`,
    description: "",
    defaultTtlSeconds: 0,
    maxTtlSeconds: 0,
    options: options.options ?? {},
    local: options.local ?? false,
    sealWrap: options.sealWrap ?? false,
    forceNoCache: false,
    listingVisibility: "",
    tokenType: "default-service",
    removing: false,
  };
  return tuned(entry, options);
}

/** A mount with what a caller changed. @throws {RksError} INPUT_INVALID for lifetimes that contradict each other. */
export function tuned(entry: MountEntry, tuning: MountTuning): MountEntry {
  const changed: MountEntry = {
    ...entry,
    description: tuning.description ?? entry.description,
    defaultTtlSeconds: tuning.defaultTtlSeconds ?? entry.defaultTtlSeconds,
    maxTtlSeconds: tuning.maxTtlSeconds ?? entry.maxTtlSeconds,
    forceNoCache: tuning.forceNoCache ?? entry.forceNoCache,
    listingVisibility: tuning.listingVisibility ?? entry.listingVisibility,
    auditNonHmacRequestKeys: tuning.auditNonHmacRequestKeys ?? entry.auditNonHmacRequestKeys,
    auditNonHmacResponseKeys: tuning.auditNonHmacResponseKeys ?? entry.auditNonHmacResponseKeys,
    passthroughRequestHeaders: tuning.passthroughRequestHeaders ?? entry.passthroughRequestHeaders,
    allowedResponseHeaders: tuning.allowedResponseHeaders ?? entry.allowedResponseHeaders,
    tokenType: tuning.tokenType ?? entry.tokenType,
  };
  assertTtls(changed);
  return changed;
}

/** Lifetimes of a mount with the system's filled in, in seconds. */
export function effectiveTtls(entry: MountEntry): { readonly default: number; readonly max: number } {
  const max = entry.maxTtlSeconds === 0 ? SYSTEM_MAX_TTL_SECONDS : entry.maxTtlSeconds;
  const wanted = entry.defaultTtlSeconds === 0 ? SYSTEM_DEFAULT_TTL_SECONDS : entry.defaultTtlSeconds;
  return { default: Math.min(wanted, max), max };
}

/** What the mount's backend is made from. */
export function mountInit(entry: MountEntry): MountInit {
  const ttls = effectiveTtls(entry);
  return {
    path: entry.path,
    type: entry.type,
    accessor: entry.accessor,
    options: entry.options,
    storagePrefix: storagePrefix(entry),
    defaultTtlSeconds: ttls.default,
    maxTtlSeconds: ttls.max,
  };
}

/** Where the backends of all mounts keep everything. */
export const STORAGE_PREFIX = "logical/";

/** Where the mount's backend keeps everything, with trailing slash. */
export function storagePrefix(entry: MountEntry): string {
  return `${STORAGE_PREFIX}${entry.uuid}/`;
}

function assertTtls(entry: MountEntry): void {
  const longest = effectiveTtls(entry).max;
  if (entry.defaultTtlSeconds <= longest) return;
  throw new RksError(
    "INPUT_INVALID",
    `the default lifetime of "${entry.path}", ${entry.defaultTtlSeconds} s, is longer than its longest, ${longest} s`,
    { suggestion: "Make default_lease_ttl at most max_lease_ttl." },
  );
}
