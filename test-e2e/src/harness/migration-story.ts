import { join } from "node:path";
import type { EtcdMember } from "@rk8s/storage/testing/etcd";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { askRks, clusterState, newToken } from "./ask-rks.js";
import { Cluster } from "./cluster.js";
import { ownEtcdPlaces, startOwnEtcd } from "./own-etcd.js";
import { storageStatus } from "./storage-status.js";

/** A control plane in its folder, and an etcd of its own with the certificates that it made. */
export class MigrationStory implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly etcd: EtcdMember;

  private constructor(cluster: Cluster, etcd: EtcdMember) {
    this.cluster = cluster;
    this.etcd = etcd;
  }

  /** The vault is made, etcd runs and is empty; rks does not run, and its config names no store yet. */
  static async begin(): Promise<MigrationStory> {
    const places = await ownEtcdPlaces(1);
    const endpoints = places.map(({ clientUrl }) => clientUrl);
    const cluster = await Cluster.create({ xline_config: { endpoints, prefix: "/rk8s" } });
    try {
      const [etcd] = await startOwnEtcd(places, cluster.vaultFolder, join(cluster.folder, "etcd"));
      const story = new MigrationStory(cluster, etcd!);
      await story.want("local");
      return story;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Write into the config where the store is to be. */
  async want(type: "local" | "etcd"): Promise<void> {
    const endpoints = type === "etcd" ? [this.etcd.clientUrl] : [];
    await this.cluster.configure({ xline_config: { endpoints, prefix: "/rk8s" } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.etcd.kill();
    await this.cluster[Symbol.asyncDispose]();
  }
}

/** Makes join tokens all the time, and remembers those that rks has confirmed. */
class TokenMaker {
  readonly confirmed: string[] = [];
  #isStopped = false;
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Until `stop`, also while nothing answers. */
  async run(): Promise<void> {
    while (!this.#isStopped) {
      try {
        this.confirmed.push((await newToken(this.#cluster)).id);
      } catch {
        await sleep(20);
      }
    }
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Of those that were confirmed, the ones that rks does not know now. */
  async missing(): Promise<readonly string[]> {
    const confirmed = [...this.confirmed];
    const { tokens } = await clusterState(this.#cluster);
    const known = new Set(tokens.map(({ id }) => id));
    return confirmed.filter((id) => !known.has(id));
  }
}

/**
 * Move the vault to and fro, kill rks at a random moment of each move, and see that it is found whole afterwards with every
 * token that was confirmed.
 */
export async function survivesKills(kills: number, random: () => number): Promise<void> {
  await using story = await MigrationStory.begin();
  const { cluster } = story;
  await cluster.startControlPlane();
  const maker = new TokenMaker(cluster);
  const making = maker.run();
  try {
    for (let count = 0; count < kills; count += 1) {
      await moveAndKill(story, random());
      expect(await maker.missing()).toEqual([]);
    }
  } finally {
    maker.stop();
    await making;
  }
  expect(maker.confirmed.length).toBeGreaterThan(kills);
  const verified = await cluster.rks(["storage", "verify", "--config", cluster.configFile]);
  expect(verified).toMatchObject({ status: 0 });
}

/** A second is several moves of a vault as small as this. */
const MOVE_MS = 400;
/** So long after its start a move waits for a sign of life of the rks that was killed before it; the kill is for the move. */
const SIGN_OF_LIFE_MS = 3_500;

/** Ends with rks running and the vault in one place. */
async function moveAndKill(story: MigrationStory, moment: number): Promise<void> {
  const { cluster } = story;
  const { type } = await storageStatus(cluster);
  if (type === "local") {
    await story.want("etcd");
    await cluster.controlPlane.stop();
    await cluster.startControlPlane();
  } else {
    await sleep(SIGN_OF_LIFE_MS);
    await askRks(cluster, "POST", "/v1/rk8s/storage/migrate", { type: "local" });
    await story.want("local");
  }
  await sleep(moment * MOVE_MS);
  cluster.controlPlane.kill();
  await cluster.controlPlane.exited;
  await story.want("local");
  try {
    await cluster.startControlPlane();
  } catch {
    // The vault is in etcd, and says so.
    expect(cluster.controlPlane.stderr).toContain("was moved to");
    await story.want("etcd");
    await cluster.startControlPlane();
  }
  const { type: found } = await storageStatus(cluster);
  await story.want(found === "local" ? "local" : "etcd");
}
