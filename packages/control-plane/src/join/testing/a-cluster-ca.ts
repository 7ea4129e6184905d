import type { Clock } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { CLUSTER_CA_MOUNT, ClusterCa } from "../../pki/cluster-ca.js";
import type { OfflineRoot } from "../../pki/testing/offline-root.js";

export const TRUST_DOMAIN = "test.local";

const MOUNT = {
  path: CLUSTER_CA_MOUNT,
  type: "rk8s-pki",
  accessor: "rk8s-pki_test",
  options: {},
  storagePrefix: "logical/test/",
  defaultTtlSeconds: 3600,
  maxTtlSeconds: 86_400,
};

/** A cluster's certificate authority below an offline root. */
export async function anOfflineClusterCa(
  storage: Storage,
  clock: Clock,
  root: OfflineRoot,
): Promise<ClusterCa> {
  const ca = await ClusterCa.open(MOUNT, storage, { clock });
  const { csr, writes: asked, wipe } = await ca.prepareRequest({ isFresh: false });
  await storage.transaction([], asked);
  wipe();
  const { writes } = await ca.initializeOffline({
    trustDomain: TRUST_DOMAIN,
    certificates: root.answer(csr),
  });
  await storage.transaction([], writes);
  await ca.reload();
  return ca;
}

/** A cluster's certificate authority with a fresh root in the store, which lives for a year, or with the one that is there. */
export async function aClusterCa(
  storage: Storage,
  clock: Clock,
  rootTtlSeconds = 86_400 * 365,
): Promise<ClusterCa> {
  const ca = await ClusterCa.open(MOUNT, storage, { clock });
  if (ca.initialized) return ca;
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
