import { createHash } from "node:crypto";
import { RecordCollection, type Storage } from "@rk8s/storage";
import { z } from "zod";

const recoveryKeyOwner = z.object({ nodeName: z.string(), uid: z.string() });

/** Which node a key was enrolled for last; it says nothing when that node is gone or has another key now. */
export type RecoveryKeyOwner = z.infer<typeof recoveryKeyOwner>;

/** Owners of enrolled keys by SHA-256 of the key. */
export function recoveryKeyOwners(storage: Storage): RecordCollection<RecoveryKeyOwner> {
  return new RecordCollection(storage, "cluster/recovery-keys/", recoveryKeyOwner);
}

/** The name of a key's record. */
export function recoveryKeyName(publicKey: Uint8Array): string {
  return createHash("sha256").update(publicKey).digest("hex");
}
