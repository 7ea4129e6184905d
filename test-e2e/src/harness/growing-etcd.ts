import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type EtcdMember, type EtcdPlace, placeFlags } from "@rk8s/storage/testing/etcd";
import { assertDone, type Cluster } from "./cluster.js";
import { eventually } from "./eventually.js";
import { ownEtcdctl, ownMember } from "./own-etcd.js";

const START_MS = 30_000;

/** An etcd whose members come and go as docs/operations.md says, with the certificates that the cluster's rks makes for them. */
export class GrowingEtcd implements AsyncDisposable {
  readonly #cluster: Cluster;
  /** Those that have a vote; a learner answers nobody. */
  readonly #voting = new Map<EtcdPlace, EtcdMember>();
  readonly #processes: EtcdMember[] = [];

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Client addresses of the members. */
  get endpoints(): readonly string[] {
    return this.#places.map(({ clientUrl }) => clientUrl);
  }

  /** The first member, for which there are certificates already. */
  async begin(place: EtcdPlace): Promise<void> {
    const member = await this.#start(place, [place]);
    await member.healthy(START_MS);
    this.#voting.set(place, member);
  }

  /** One member more: it only learns until it has everything, so the others never wait for it. */
  async add(place: EtcdPlace): Promise<void> {
    const { name, clientUrl, peerUrl } = place;
    const { configFile } = this.#cluster;
    assertDone(
      await this.#cluster.rks(["gen", "xline-certs", "--endpoint", clientUrl, "--config", configFile]),
    );
    await this.#whenAllowed("add", name, "--learner", `--peer-urls=${peerUrl}`);
    const places = [...this.#places, place];
    const member = await this.#start(place, places, ["--initial-cluster-state=existing"]);
    const id = await this.#idOf(peerUrl);
    await this.#whenAllowed("promote", id);
    this.#voting.set(place, member);
  }

  /** End a member and start it with the certificates that are in its folder now. */
  async restart(place: EtcdPlace): Promise<void> {
    await this.#voting.get(place)?.stop();
    const member = await this.#start(place, this.#places);
    this.#voting.set(place, member);
    await member.healthy(START_MS);
  }

  /** Hand over what the member leads, take it out, and end it. */
  async remove(place: EtcdPlace): Promise<void> {
    const heir = this.#places.find((other) => other !== place)!;
    const id = await this.#idOf(place.peerUrl);
    await this.#etcdctl("move-leader", await this.#idOf(heir.peerUrl)).catch(() => undefined);
    await this.#whenAllowed("remove", id);
    await this.#voting.get(place)?.kill();
    this.#voting.delete(place);
    await rm(join(this.#folder, place.name), { recursive: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((member) => member.kill()));
  }

  async #start(
    place: EtcdPlace,
    places: readonly EtcdPlace[],
    more: readonly string[] = [],
  ): Promise<EtcdMember> {
    const flags = [...placeFlags(place, places, this.#folder), ...more];
    const member = await ownMember(place, flags, this.#cluster.vaultFolder);
    this.#processes.push(member);
    member.start();
    return member;
  }

  async #idOf(peerUrl: string): Promise<string> {
    const list = await this.#etcdctl("member", "list");
    const line = list.split("\n").find((text) => text.includes(peerUrl));
    if (line === undefined) throw new Error(`no member at ${peerUrl}:\n${list}`);
    return line.slice(0, line.indexOf(","));
  }

  /** etcd changes its members five seconds after the last one has come, and promotes one that has everything. */
  async #whenAllowed(...words: readonly string[]): Promise<void> {
    const isDone = (): Promise<boolean> =>
      this.#etcdctl("member", ...words).then(
        () => true,
        (error: unknown) => {
          if (/unhealthy cluster|in sync with leader|leader changed|no leader/.test(String(error)))
            return false;
          throw error;
        },
      );
    await eventually(isDone, (done) => done);
  }

  async #etcdctl(...words: readonly string[]): Promise<string> {
    return ownEtcdctl(this.endpoints, this.#cluster.vaultFolder, words);
  }

  get #places(): readonly EtcdPlace[] {
    return [...this.#voting.keys()];
  }

  get #folder(): string {
    return join(this.#cluster.folder, "etcd");
  }
}
