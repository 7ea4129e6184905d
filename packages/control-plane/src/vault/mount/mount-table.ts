import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { Storage } from "../../storage/storage.js";

const TABLE_KEY = "core/mounts";
const MAX_MOUNTS = 256;

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

/** Replace the mounts. @throws {RksError} INPUT_INVALID when there are too many. */
export async function writeMountTable(storage: Storage, mounts: readonly MountEntry[]): Promise<void> {
  if (mounts.length > MAX_MOUNTS) {
    throw new RksError("INPUT_INVALID", `there are at most ${MAX_MOUNTS} mounts`, {
      suggestion: "Disable one that is not used.",
    });
  }
  const value = Buffer.from(JSON.stringify({ version: 1, mounts }));
  await storage.transaction([], [{ type: "put", key: TABLE_KEY, value }]);
}

/** Delete everything under a prefix, page by page. */
export async function deletePrefix(storage: Storage, prefix: string): Promise<void> {
  for (let more = true; more;) {
    const page = await storage.list(prefix, { limit: 100 });
    await storage.transaction(
      [],
      page.entries.map(({ key }) => ({ type: "delete", key })),
    );
    more = page.more;
  }
}
