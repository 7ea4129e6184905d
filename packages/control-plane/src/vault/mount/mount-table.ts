import { RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { z } from "zod";

/** Of the barrier. */
export const TABLE_KEY = "core/mounts";
/** Of the table as it is stored; what is left to the store's limit is the barrier's. */
const MAX_TABLE_BYTES = 1_000_000;

/** The values of `listing_visibility`. */
export const LISTING_VISIBILITIES = ["", "hidden", "unauth"] as const;
/** The values of a login method's `token_type`. */
export const TOKEN_TYPES = ["default-service", "default-batch", "service", "batch"] as const;

const mountEntry = z.object({
  /** With trailing slash. */
  path: z.string(),
  type: z.string(),
  uuid: z.string(),
  accessor: z.string(),
  description: z.string(),
  /** Seconds; 0: the system's. */
  defaultTtlSeconds: z.int().min(0),
  maxTtlSeconds: z.int().min(0),
  options: z.record(z.string(), z.string()).default({}),
  /** Remembered and shown; there are no replicas and no wrapping seals that they would mean something to. */
  local: z.boolean().default(false),
  sealWrap: z.boolean().default(false),
  forceNoCache: z.boolean().default(false),
  /** Who sees the mount in `sys/internal/ui/mounts`: those who may use it, or everybody. */
  listingVisibility: z.enum(LISTING_VISIBILITIES).default(""),
  /** Fields whose values audit devices write in clear; none: what is usual for the type. */
  auditNonHmacRequestKeys: z.array(z.string()).readonly().optional(),
  auditNonHmacResponseKeys: z.array(z.string()).readonly().optional(),
  passthroughRequestHeaders: z.array(z.string()).readonly().optional(),
  allowedResponseHeaders: z.array(z.string()).readonly().optional(),
  /** What a login method's tokens are unless its roles say otherwise. */
  tokenType: z.enum(TOKEN_TYPES).default("default-service"),
  /** Disabled, but not everything of it is deleted yet. */
  removing: z.boolean(),
});
const mountTable = z.object({ version: z.literal(1), mounts: z.array(mountEntry) });

/** A mount as it is remembered. */
export type MountEntry = Readonly<z.infer<typeof mountEntry>>;

/** The mounts as they were read. */
export interface StoredMounts {
  readonly mounts: readonly MountEntry[];
  /** For a change of them. */
  readonly modRevision: number;
}

/**
 * Read the mounts.
 * @throws {RksError} STORAGE_CORRUPT
 */
export async function readMountTable(storage: Storage): Promise<StoredMounts> {
  const entry = await storage.get(TABLE_KEY);
  if (entry === undefined) return { mounts: [], modRevision: 0 };
  const { modRevision } = entry;
  try {
    return { mounts: mountTable.parse(JSON.parse(Buffer.from(entry.value).toString())).mounts, modRevision };
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", "the table of mounts has a form that is not known", {
      suggestion: "Use the version of rks that wrote the data folder.",
      cause,
    });
  }
}

/** Replace the mounts; gives the revision for the next change. @throws {RksError} CONFLICT when others changed them. */
export async function writeMountTable(
  storage: Storage,
  mounts: readonly MountEntry[],
  modRevision: number,
): Promise<number> {
  const { succeeded, revision } = await storage.transaction(
    [{ key: TABLE_KEY, modRevision }],
    [{ type: "put", key: TABLE_KEY, value: encodeTable(mounts) }],
  );
  if (succeeded) return revision;
  throw new RksError("CONFLICT", "another rks changed the mounts at this moment", {
    suggestion: "Try again.",
  });
}

/** @throws {RksError} INPUT_INVALID when the mounts say more about themselves than can be stored. */
export function assertTableSize(mounts: readonly MountEntry[]): void {
  if (encodeTable(mounts).byteLength <= MAX_TABLE_BYTES) return;
  throw new RksError("INPUT_INVALID", `all mounts together are described in ${MAX_TABLE_BYTES} bytes`, {
    suggestion: "Make descriptions, options and lists of keys shorter.",
  });
}

function encodeTable(mounts: readonly MountEntry[]): Buffer {
  return Buffer.from(JSON.stringify({ version: 1, mounts }));
}
