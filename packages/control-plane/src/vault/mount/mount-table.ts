import { RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { z } from "zod";

const TABLE_KEY = "core/mounts";
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

/**
 * Read the mounts.
 * @throws {RksError} STORAGE_CORRUPT
 */
export async function readMountTable(storage: Storage): Promise<readonly MountEntry[]> {
  const entry = await storage.get(TABLE_KEY);
  if (entry === undefined) return [];
  try {
    return mountTable.parse(JSON.parse(Buffer.from(entry.value).toString())).mounts;
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", "the table of mounts has a form that is not known", {
      suggestion: "Use the version of rks that wrote the data folder.",
      cause,
    });
  }
}

/** Replace the mounts. */
export async function writeMountTable(storage: Storage, mounts: readonly MountEntry[]): Promise<void> {
  await storage.transaction([], [{ type: "put", key: TABLE_KEY, value: encodeTable(mounts) }]);
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
