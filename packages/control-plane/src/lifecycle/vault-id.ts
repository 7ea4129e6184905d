import type { ClusterCa } from "../pki/cluster-ca.js";

/** Of the hash of the first root's key; enough to tell one vault from another. */
const VAULT_ID_BYTES = 8;

/** What a vault is known by in its audit log and its stores, whatever root it has by now. */
export function vaultIdOf({ founder }: Pick<ClusterCa, "founder">): string {
  return Buffer.from(founder).toString("hex", 0, VAULT_ID_BYTES);
}
