import { expect, test } from "vitest";
import { assertDone, Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { GrowingEtcd } from "./harness/growing-etcd.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { ownEtcdPlaces } from "./harness/own-etcd.js";
import { SteadyJoins } from "./harness/steady-joins.js";
import { storageStatus, whenStoredIn } from "./harness/storage-status.js";

/** What a join may take while the store's leader changes. */
const SLOWEST_JOIN_MS = 5_000;

suiteThatNeeds(["etcd"], "a store whose members come and go", () => {
  test("from one member to three, and away from the first: agents join all the time, and rks needs no restart", async () => {
    const [first, second, third] = await ownEtcdPlaces(3);
    const config = { xline_config: { endpoints: [first!.clientUrl], prefix: "/rk8s" } };
    await using cluster = await Cluster.create(config);
    await using etcd = new GrowingEtcd(cluster);
    await etcd.begin(first!);
    await cluster.startControlPlane();
    await whenStoredIn(cluster, "etcd");
    await using joins = await SteadyJoins.start(cluster);
    const joinsMore = (): Promise<unknown> => {
      const wanted = joins.names.length + 3;
      return eventually(
        () => Promise.resolve(joins.names.length),
        (count) => count >= wanted,
      );
    };
    const knows = (urls: readonly string[]): Promise<unknown> =>
      eventually(
        async () => (await storageStatus(cluster)).members,
        (members) => members.toSorted().join() === urls.toSorted().join(),
      );
    await joinsMore();

    for (const place of [second!, third!]) {
      await etcd.add(place);
      await knows(etcd.endpoints);
      await joinsMore();
    }
    await etcd.remove(first!);
    await joinsMore();
    await joins.stop();
    process.stdout.write(
      `${joins.names.length} agents joined meanwhile, the slowest in ${Math.round(joins.longestMs)} ms\n`,
    );
    expect(joins.longestMs).toBeLessThan(SLOWEST_JOIN_MS);

    // The config follows when there is time for it.
    await cluster.configure({ xline_config: { endpoints: etcd.endpoints, prefix: "/rk8s" } });
    await cluster.controlPlane.stop();
    await cluster.startControlPlane();
    expect(await storageStatus(cluster)).toMatchObject({ members: etcd.endpoints, migration: null });
    assertDone(await cluster.rks(["storage", "verify", "--config", cluster.configFile]));
    const nodes = await eventually(
      () => cluster.nodes(),
      (all) => all.every(({ status }) => status === "Ready"),
    );
    expect(nodes.map(({ name }) => name).toSorted()).toEqual(joins.names.toSorted());
  });
});
