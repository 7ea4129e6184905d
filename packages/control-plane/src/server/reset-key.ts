import { randomBytes } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";

const KEY = "cluster/quic-reset-key";
const KEY_BYTES = 32;

/**
 * The key by which a restarted rks ends the connections of the process before it (`ListenOptions.resetKey`), so that
 * their agents connect again at once. Made at the first start and kept behind the barrier.
 * @throws {RksError} STORAGE_CORRUPT for one that nobody here made, and as the storage does.
 */
export async function resetKey(storage: Storage): Promise<Uint8Array> {
  const made = new Uint8Array(randomBytes(KEY_BYTES));
  const { succeeded } = await storage.transaction(
    [{ key: KEY, modRevision: 0 }],
    [{ type: "put", key: KEY, value: made }],
  );
  if (succeeded) return made;
  const kept = (await storage.get(KEY))?.value;
  if (kept?.length === KEY_BYTES) return kept;
  throw new RksError("STORAGE_CORRUPT", `the record "${KEY}" cannot be read`, {
    suggestion: "Restore the data folder from a backup, and report this.",
  });
}
