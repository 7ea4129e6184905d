import { join } from "node:path";
import { type EtcdMember, type EtcdPlace, placeFlags } from "@rk8s/storage/testing/etcd";
import { Cluster } from "./cluster.js";
import { Lab } from "./lab.js";
import { ownEtcdctl, ownMember } from "./own-etcd.js";
import { whenStoredIn } from "./storage-status.js";

/** Hosts with a member of the store each; the first two have a control plane besides. */
const HOSTS = ["one", "two", "three"] as const;
const WORKERS = "workers";
/** Hosts of their own have all ports for themselves. */
const QUIC_PORT = 50_051;

/**
 * Three hosts with a member of one etcd each, with mutual TLS, two of them with a control plane that knows all members; and a
 * host for agents. Each is a network namespace, so that what is cut off really is.
 */
export class StoreLab implements AsyncDisposable {
  readonly #lab: Lab;
  readonly #places: readonly EtcdPlace[];
  readonly #members: EtcdMember[] = [];
  readonly #planes: Cluster[] = [];

  private constructor(lab: Lab) {
    this.#lab = lab;
    this.#places = HOSTS.map((name) => placeOn(lab, name));
  }

  /** The store, and the first control plane, whose vault is in it. */
  static async start(): Promise<StoreLab> {
    const lab = new StoreLab(await Lab.create([...HOSTS, WORKERS]));
    try {
      await lab.#start();
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const { prefix } = this.#lab.host("one");
    const one = await Cluster.create(configOn(this.#lab, "one", this.#places), { prefix });
    this.#planes.push(one);
    for (const place of this.#places) {
      const flags = placeFlags(place, this.#places, join(one.folder, "etcd"));
      const member = await ownMember(place, flags, one.vaultFolder, this.#lab.host(place.name).prefix);
      this.#members.push(member);
      member.start();
    }
    await one.startControlPlane();
    await whenStoredIn(one, "etcd");
  }

  get one(): Cluster {
    return this.#planes[0]!;
  }

  /** Where agents will find both control planes, the first one first. */
  get addresses(): readonly [string, string] {
    return [`${this.#lab.host("one").address}:${QUIC_PORT}`, `${this.#lab.host("two").address}:${QUIC_PORT}`];
  }

  /** How agents are started. */
  get workers(): { readonly prefix: readonly string[] } {
    return { prefix: this.#lab.host(WORKERS).prefix };
  }

  /** The second control plane. */
  async startTwo(): Promise<Cluster> {
    const { prefix } = this.#lab.host("two");
    const config = configOn(this.#lab, "two", this.#places);
    const two = await Cluster.beside(this.one, config, { prefix, hostName: "two" });
    this.#planes.push(two);
    return two;
  }

  /** Make the first host's member the leader. */
  async leadFromOne(): Promise<void> {
    const urls = this.#places.map(({ clientUrl }) => clientUrl);
    const { vaultFolder } = this.one;
    const { prefix } = this.#lab.host("one");
    const list = await ownEtcdctl(urls, vaultFolder, ["member", "list"], prefix);
    const id = /^(\w+), started, one,/m.exec(list)?.[1];
    if (id === undefined) throw new Error(`the first member is not there:\n${list}`);
    const status = await ownEtcdctl(urls.slice(0, 1), vaultFolder, ["endpoint", "status"], prefix);
    if (status.includes(", true, ")) return;
    await ownEtcdctl(urls, vaultFolder, ["move-leader", id], prefix);
  }

  /** Cut the first host off from the other members and the other control plane; agents reach both sides. */
  async partition(): Promise<void> {
    await this.#lab.separate("one", ["two", "three"]);
  }

  async heal(): Promise<void> {
    await this.#lab.separate("one", []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const plane of this.#planes.toReversed()) await plane[Symbol.asyncDispose]();
    await Promise.all(this.#members.map((member) => member.kill()));
    await this.#lab[Symbol.asyncDispose]();
  }
}

function placeOn(lab: Lab, name: string): EtcdPlace {
  const { address } = lab.host(name);
  return { name, clientUrl: `https://${address}:2379`, peerUrl: `https://${address}:2380` };
}

function configOn(lab: Lab, name: string, places: readonly EtcdPlace[]): object {
  return {
    addr: `${lab.host(name).address}:${QUIC_PORT}`,
    xline_config: { endpoints: places.map(({ clientUrl }) => clientUrl), prefix: "/rk8s" },
  };
}
