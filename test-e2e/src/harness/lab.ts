import { execFile } from "node:child_process";
import { promisify } from "node:util";

const execute = promisify(execFile);
let labs = 0;

/** A host of the lab: a network namespace with one address on the lab's switch. */
export interface LabHost {
  readonly name: string;
  readonly address: string;
  /** Words before a command that make it run on this host. */
  readonly prefix: readonly string[];
}

/**
 * Hosts on one machine, each in a network namespace of its own, joined by a bridge. Partition and packet loss are its
 * verbs. Needs root on Linux with iproute2 and nftables; nothing outside the namespaces is touched.
 */
export class Lab implements AsyncDisposable {
  readonly #id: string;
  readonly #hosts = new Map<string, LabHost>();

  private constructor(id: string) {
    this.#id = id;
  }

  static async create(names: readonly string[]): Promise<Lab> {
    const lab = new Lab(`rk${process.pid % 100_000}x${labs++}`);
    try {
      await lab.#addSwitch();
      for (const [index, name] of names.entries()) await lab.#addHost(name, index);
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  host(name: string): LabHost {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new TypeError(`the lab has no host "${name}"`);
    return host;
  }

  /** Pull the host's cable. */
  async partition(name: string): Promise<void> {
    await this.#ip("-n", this.#switch, "link", "set", this.#port(name), "down");
  }

  /** Plug it in again. */
  async heal(name: string): Promise<void> {
    await this.#ip("-n", this.#switch, "link", "set", this.#port(name), "up");
  }

  /** Let this host and those others hear nothing of each other, whatever else they reach; no others: end it. */
  async separate(name: string, others: readonly string[]): Promise<void> {
    await this.#nft(name, "add", "table", "inet", "apart");
    await this.#nft(name, "flush", "table", "inet", "apart");
    if (others.length === 0) return;
    const addresses = `{ ${others.map((other) => this.host(other).address).join(", ")} }`;
    for (const [hook, side] of [
      ["input", "saddr"],
      ["output", "daddr"],
    ] as const) {
      const chain = `{ type filter hook ${hook} priority 0 ; }`;
      await this.#nft(name, "add", "chain", "inet", "apart", hook, chain);
      await this.#nft(name, "add", "rule", "inet", "apart", hook, "ip", side, addresses, "drop");
    }
  }

  /** Drop this share of the packets that reach the host; 0 ends it. */
  async lose(name: string, percent: number): Promise<void> {
    await this.#nft(name, "add", "table", "inet", "loss");
    await this.#nft(name, "flush", "table", "inet", "loss");
    if (percent === 0) return;
    await this.#nft(name, "add", "chain", "inet", "loss", "in", "{ type filter hook input priority 0 ; }");
    const rule = ["numgen", "random", "mod", "100", "<", String(percent), "drop"];
    await this.#nft(name, "add", "rule", "inet", "loss", "in", ...rule);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#hosts.keys()) {
      await this.#ip("netns", "del", this.#namespace(name)).catch(() => undefined);
    }
    await this.#ip("netns", "del", this.#switch).catch(() => undefined);
  }

  async #addSwitch(): Promise<void> {
    await this.#ip("netns", "add", this.#switch);
    await this.#ip("-n", this.#switch, "link", "add", "br0", "type", "bridge");
    await this.#ip("-n", this.#switch, "link", "set", "br0", "up");
  }

  async #addHost(name: string, index: number): Promise<void> {
    const namespace = `${this.#id}-${index}`;
    const address = `10.99.0.${index + 1}`;
    const prefix = ["nsenter", `--net=/run/netns/${namespace}`];
    this.#hosts.set(name, { name, address, prefix });
    const port = this.#port(name);
    await this.#ip("netns", "add", namespace);
    const link = ["link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name", port];
    await this.#ip(...link, "netns", this.#switch);
    await this.#ip("-n", this.#switch, "link", "set", port, "master", "br0", "up");
    await this.#ip("-n", namespace, "link", "set", "lo", "up");
    await this.#ip("-n", namespace, "addr", "add", `${address}/24`, "dev", "eth0");
    await this.#ip("-n", namespace, "link", "set", "eth0", "up");
  }

  get #switch(): string {
    return `${this.#id}-sw`;
  }

  #namespace(name: string): string {
    return `${this.#id}-${[...this.#hosts.keys()].indexOf(name)}`;
  }

  #port(name: string): string {
    return `p${[...this.#hosts.keys()].indexOf(name)}`;
  }

  async #nft(name: string, ...args: readonly string[]): Promise<void> {
    await execute("nsenter", [`--net=/run/netns/${this.#namespace(name)}`, "nft", ...args]);
  }

  async #ip(...args: readonly string[]): Promise<void> {
    await execute("ip", args);
  }
}
