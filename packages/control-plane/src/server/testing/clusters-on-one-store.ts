import { silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage, revisionOf, type Storage } from "@rk8s/storage";
import { aClusterCa } from "../../join/testing/a-cluster-ca.js";
import { StoreSharing } from "../../vault/members/sharing.js";
import { Barrier } from "../../vault/seal/barrier.js";
import { Keyring } from "../../vault/seal/keyring.js";
import { aCluster, type TestCluster } from "./a-cluster.js";

/** One of several control planes. */
interface SharingCluster extends AsyncDisposable {
  readonly cluster: TestCluster;
  readonly membership: StoreSharing;
  readonly barrier: Barrier;
  /** Moves the time of this one alone. */
  readonly clock: FakeClock;
}

/** A store, and control planes that share it; each is opened by `open`. */
export interface OneStore {
  readonly storage: Storage;
  readonly open: () => Promise<SharingCluster>;
}

/** Make the store, with a cluster's CA in it. */
export async function oneStore(): Promise<OneStore> {
  const storage = memoryStorage();
  const keyring = Keyring.create(0);
  const keys = keyring.serialize();
  const now = Math.floor(Date.now() / 1000) * 1000;
  await aClusterCa(Barrier.create(storage, keyring), new FakeClock({ now }));
  return { storage, open: () => openOne(storage, Keyring.parse(keys), now) };
}

async function openOne(storage: Storage, keyring: Keyring, now: number): Promise<SharingCluster> {
  const clock = new FakeClock({ now });
  const ports = { storage, clock, logger: silentLogger };
  const revision = await revisionOf(storage);
  const sharing = new StoreSharing(ports);
  const barrier = await Barrier.unseal(storage, keyring, 0, await sharing.join());
  sharing.listen(barrier, revision, () => undefined);
  const ca = await aClusterCa(barrier, clock);
  const cluster = await aCluster({ barrier, clock, ca, sharing });
  await sharing.announce(`192.0.2.1:${cluster.address.port}`);
  return {
    cluster,
    membership: sharing,
    barrier,
    clock,
    [Symbol.asyncDispose]: async () => {
      await cluster.stop();
      await sharing[Symbol.asyncDispose]();
    },
  };
}
