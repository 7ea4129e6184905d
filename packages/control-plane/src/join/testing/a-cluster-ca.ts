import type { Clock } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { CLUSTER_CA_MOUNT, ClusterCa } from "../../pki/cluster-ca.js";

export const TRUST_DOMAIN = "test.local";

/** A cluster's certificate authority with a fresh root in the store, which lives for a year. */
export async function aClusterCa(
  storage: Storage,
  clock: Clock,
  rootTtlSeconds = 86_400 * 365,
): Promise<ClusterCa> {
  const mount = {
    path: CLUSTER_CA_MOUNT,
    type: "rk8s-pki",
    accessor: "rk8s-pki_test",
    options: {},
    storagePrefix: "logical/test/",
    defaultTtlSeconds: 3600,
    maxTtlSeconds: 86_400,
  };
  const ca = await ClusterCa.open(mount, storage, { clock });
  const { writes, wipe } = ca.initialize({
    trustDomain: TRUST_DOMAIN,
    rootTtlSeconds,
    commonName: "test root",
  });
  await storage.transaction([], writes);
  wipe();
  await ca.reload();
  return ca;
}
