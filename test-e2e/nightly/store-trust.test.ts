import { appendFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type EtcdMember, type EtcdPlace, placeFlags } from "@rk8s/storage/testing/etcd";
import { expect, test } from "vitest";
import { newToken } from "../src/harness/ask-rks.js";
import { assertDone, Cluster } from "../src/harness/cluster.js";
import { eventually } from "../src/harness/eventually.js";
import { suiteThatNeeds } from "../src/harness/needs.js";
import { ownEtcdPlaces, ownMember } from "../src/harness/own-etcd.js";
import { caStatus, caStep } from "../src/harness/root-rotation.js";
import { storageStatus, whenStoredIn } from "../src/harness/storage-status.js";

const START_MS = 30_000;

/** A cluster whose vault is in an etcd of three members, which are started with the certificates that are there then. */
class ThreeMembers implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly #places: readonly EtcdPlace[];
  readonly #running = new Map<EtcdPlace, EtcdMember>();

  private constructor(cluster: Cluster, places: readonly EtcdPlace[]) {
    this.cluster = cluster;
    this.#places = places;
  }

  static async start(): Promise<ThreeMembers> {
    const places = await ownEtcdPlaces(3);
    const endpoints = places.map(({ clientUrl }) => clientUrl);
    const cluster = await Cluster.create({ xline_config: { endpoints, prefix: "/rk8s" } });
    const all = new ThreeMembers(cluster, places);
    try {
      await all.restartAtOnce();
      await cluster.startControlPlane();
      await whenStoredIn(cluster, "etcd");
      return all;
    } catch (error) {
      await all[Symbol.asyncDispose]();
      throw error;
    }
  }

  get endpoints(): readonly string[] {
    return this.#places.map(({ clientUrl }) => clientUrl);
  }

  /** New certificates for all members, in the folders that these have. */
  async bringCertificates(): Promise<void> {
    const { cluster } = this;
    assertDone(await cluster.rks(["gen", "xline-certs", "--config", cluster.configFile]));
  }

  async restartOneByOne(): Promise<void> {
    for (const place of this.#places) {
      const member = await this.#restart(place);
      await member.healthy(START_MS);
      await newToken(this.cluster);
    }
  }

  async restartAtOnce(): Promise<void> {
    for (const place of this.#places) await this.#restart(place);
    for (const member of this.#running.values()) await member.healthy(START_MS);
  }

  async untilNobodyIsBehind(): Promise<void> {
    await eventually(
      () => caStatus(this.cluster),
      ({ storeMembersBehind }) => storeMembersBehind.length === 0,
    );
  }

  /** The CA that the first member has in its folder, PEM. */
  async memberCa(): Promise<string> {
    const { hostname, port } = new URL(this.endpoints[0]!);
    return readFile(join(this.cluster.vaultFolder, `xline-${hostname}-${port}`, "ca.pem"), "utf8");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
    await Promise.all([...this.#running.values()].map((member) => member.kill()));
  }

  async #restart(place: EtcdPlace): Promise<EtcdMember> {
    await this.#running.get(place)?.stop();
    const { folder, vaultFolder } = this.cluster;
    const member = await ownMember(place, placeFlags(place, this.#places, join(folder, "etcd")), vaultFolder);
    member.start();
    this.#running.set(place, member);
    return member;
  }
}

suiteThatNeeds(["etcd"], "roots that go while three members of the store have their certificates", () => {
  test("members follow one by one before a retire, without a failed request", async () => {
    await using store = await ThreeMembers.start();
    const { cluster } = store;
    await caStep(cluster, "prepare");
    expect((await caStep(cluster, "activate")).storeMembersBehind).toHaveLength(3);
    await store.bringCertificates();
    await store.restartOneByOne();
    await store.untilNobodyIsBehind();
    expect(await caStep(cluster, "retire")).toMatchObject({ phase: "steady" });
    await store.bringCertificates();
    await store.restartOneByOne();
    expect(await caStatus(cluster)).toMatchObject({ storeMembersBehind: [], warnings: [] });
  });

  test("after a taint that waited for nobody they are restarted right after one another, and the store is there again", async () => {
    await using store = await ThreeMembers.start();
    const { cluster } = store;
    await caStep(cluster, "prepare");
    expect((await caStep(cluster, "taint")).storeMembersBehind).toHaveLength(3);
    await newToken(cluster);
    await store.bringCertificates();
    await store.restartAtOnce();
    await store.untilNobodyIsBehind();
    await newToken(cluster);
    expect(await caStep(cluster, "revoke")).toMatchObject({ phase: "steady", warnings: [] });
  });

  test("after a forced retire rks goes on, says what to do when it is restarted, and comes back by that", async () => {
    await using store = await ThreeMembers.start();
    const { cluster, endpoints } = store;
    await caStep(cluster, "prepare");
    await caStep(cluster, "activate");
    const force = endpoints.flatMap((endpoint) => ["--force", endpoint]);
    assertDone(await cluster.rks(["ca", "retire", "--config", cluster.configFile, ...force]));
    await newToken(cluster);
    await cluster.controlPlane.stop();
    const refused = await cluster.rks(["start", "--config", cluster.configFile]);
    expect(refused.status).toBe(77);
    expect(refused.stderr).toContain("When rks and its store do not trust each other");

    const published = await readFile(cluster.rootCertPath, "utf8");
    await appendFile(cluster.rootCertPath, await store.memberCa());
    await cluster.startControlPlane();
    expect(await storageStatus(cluster)).toMatchObject({ type: "etcd" });
    expect(await readFile(cluster.rootCertPath, "utf8")).toBe(published);
    expect((await caStatus(cluster)).warnings).toEqual([expect.stringContaining("rks gen xline-certs")]);
    await store.bringCertificates();
    await store.restartOneByOne();
    await store.untilNobodyIsBehind();
    await cluster.controlPlane.stop();
    await cluster.startControlPlane();
    expect(await caStatus(cluster)).toMatchObject({ storeMembersBehind: [], warnings: [] });
  });
});
