import type { Storage, Write } from "@rk8s/storage";
import { ExpiryIndex } from "./certificate/expiry-index.js";
import { CLUSTER_KEYS } from "./cluster-store.js";

/**
 * How long a certificate is kept after its end, so that `cert/:serial` still tells what it was. Ten thousand nodes with
 * certificates of an hour get 360,000 a day: with this the store holds some 400 MB of them, and no more.
 */
const KEPT_AFTER_END_MS = 24 * 3_600_000;
/** Two writes each. */
const REMOVED_AT_ONCE = 60;

/** Certificates of the cluster's CA by their end. */
export function clusterCertificatesByEnd(barrier: Storage, prefix: string): ExpiryIndex {
  return new ExpiryIndex(barrier, `${prefix}certs-by-end/`);
}

/** Forget certificates whose end is a day past. Returns how many. */
export async function tidyClusterCertificates(
  barrier: Storage,
  prefix: string,
  now: number,
): Promise<number> {
  const byEnd = clusterCertificatesByEnd(barrier, prefix);
  let count = 0;
  const range = { beforeMs: now - KEPT_AFTER_END_MS, limit: REMOVED_AT_ONCE };
  for await (const endings of byEnd.pages(range)) {
    const writes = endings.flatMap((ending): Write[] => [
      { type: "delete", key: `${prefix}${CLUSTER_KEYS.certificates}${ending.serialNumber}` },
      byEnd.delete(ending),
    ]);
    if (writes.length > 0) await barrier.transaction([], writes);
    count += endings.length;
  }
  return count;
}
