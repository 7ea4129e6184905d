import { askRks, type RksSocket } from "./ask-rks.js";
import { eventually } from "./eventually.js";

/** What `rks storage status --json` says, as far as the tests look. */
export interface StorageStatus {
  readonly type: "local" | "etcd" | "sql";
  readonly members: readonly string[];
  readonly migration: { readonly phase: string; readonly pausedMs: number | null } | null;
}

export async function storageStatus(rks: RksSocket): Promise<StorageStatus> {
  return (await askRks(rks, "GET", "/v1/rk8s/storage")) as StorageStatus;
}

/** Wait until the vault is in such a store and nothing is moved any more. */
export async function whenStoredIn(rks: RksSocket, type: StorageStatus["type"]): Promise<StorageStatus> {
  return eventually(
    () => storageStatus(rks),
    (status) => status.type === type && (status.migration === null || status.migration.phase === "done"),
  );
}
