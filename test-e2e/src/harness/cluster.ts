import { copyFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { type CommandResult, Daemon, RKL, RKS, runCommand, type SpawnOptions } from "./process.js";

/** One entry of `rks node list --json`. */
export interface ListedNode {
  readonly name: string;
  readonly status: string;
  readonly address: string;
  readonly certificateSerial: string;
  readonly certificateNotAfter: string;
  readonly lastHeartbeat: string | null;
  readonly joinedAt: string;
  readonly version: string;
}

/** `rks gen join-token --json`. */
export interface MintedToken {
  readonly token: string;
  readonly id: string;
  readonly expiresAt: string;
  readonly uses: number;
  readonly node: string | null;
  readonly cidr: string | null;
  readonly role: "node" | "operator";
  readonly rootCertPath: string;
}

export interface AgentOptions extends SpawnOptions {
  /** Default: one by the node's name. */
  readonly dataFolder?: string;
  /** Default: the cluster's own; false to join by the token's pin alone. */
  readonly rootCertPath?: string | false;
  /** Default: the control plane's own; a relay's, for example. */
  readonly rksAddress?: string;
}

/** How a cluster is made. */
export interface ClusterOptions extends SpawnOptions {
  /** Called with the cluster's folder before anything is in it. */
  readonly onFolder?: (folder: string) => Promise<void>;
  /** How rk8s itself, and its diagrams, call the command that makes the CA. Default: `certs`. */
  readonly gen?: "certs" | "pems";
}

/** How a control plane beside another one is made. */
export interface BesideOptions extends SpawnOptions {
  /** Of its host, when the store asks for certificates. */
  readonly hostName?: string;
}

/** What tests need of a config. */
const DEFAULTS = {
  addr: "127.0.0.1:0",
  http_addr: "127.0.0.1:0",
  tls_config: { vault_folder: "./data" },
  heartbeat: { interval: "1s", grace: "4s" },
};

/** A control plane in a folder of its own, with the verbs of the two programs. */
export class Cluster implements AsyncDisposable {
  readonly folder: string;
  readonly configFile: string;
  #rks: Daemon | undefined;
  #address = "";
  #httpAddress = "";
  readonly #agents: Daemon[] = [];
  readonly #spawnOptions: SpawnOptions;

  private constructor(folder: string, spawnOptions: SpawnOptions) {
    this.folder = folder;
    this.configFile = join(folder, "config.yaml");
    this.#spawnOptions = spawnOptions;
  }

  /** A folder with a config and a CA; nothing runs yet. `config` is merged over what tests need. */
  static async create(config: object = {}, options: ClusterOptions = {}): Promise<Cluster> {
    const { onFolder, gen = "certs", ...spawnOptions } = options;
    const cluster = new Cluster(await mkdtemp(join(tmpdir(), "rk8s-e2e-")), spawnOptions);
    try {
      await onFolder?.(cluster.folder);
      await writeFile(cluster.configFile, stringify({ ...DEFAULTS, ...config }));
      assertDone(await cluster.rks(["gen", gen, "--config", cluster.configFile]));
      return cluster;
    } catch (error) {
      await rm(cluster.folder, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
  }

  /** A cluster whose control plane is ready. */
  static async start(config: object = {}, options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = await Cluster.create(config, options);
    try {
      await cluster.startControlPlane();
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Another control plane, ready, of the cluster that `first` has in a store which both configs name: with a folder of its own
   * and the unseal keys. With `hostName` it gets what `rks gen xline-certs --rks` makes for that host.
   */
  static async beside(first: Cluster, config: object, options: BesideOptions = {}): Promise<Cluster> {
    const { hostName, ...spawnOptions } = options;
    const cluster = new Cluster(await mkdtemp(join(tmpdir(), "rk8s-e2e-")), spawnOptions);
    try {
      await writeFile(cluster.configFile, stringify({ ...DEFAULTS, ...config }));
      await mkdir(cluster.vaultFolder, { mode: 0o700 });
      for (const file of ["root.pem", "keys.json"]) {
        await copyFile(join(first.vaultFolder, file), join(cluster.vaultFolder, file));
      }
      if (hostName !== undefined) {
        assertDone(await first.rks(["gen", "xline-certs", "--rks", hostName, "--config", first.configFile]));
        await cp(join(first.vaultFolder, `rks-host-${hostName}`), cluster.vaultFolder, { recursive: true });
      }
      await cluster.startControlPlane();
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Change keys of the config, for the next start. */
  async configure(changes: object): Promise<void> {
    const config = parse(await readFile(this.configFile, "utf8")) as object;
    await writeFile(this.configFile, stringify({ ...config, ...changes }));
  }

  /** Start `rks`; on the same port as before when it ran already. */
  async startControlPlane(): Promise<Daemon> {
    const config = await readFile(this.configFile, "utf8");
    if (this.#address !== "") {
      await writeFile(this.configFile, config.replace(/^addr: .*$/m, `addr: "${this.#address}"`));
    }
    this.#rks = new Daemon(
      RKS,
      ["start", "--config", this.configFile, "--json", "--log-level", "debug"],
      this.#spawnOptions,
    );
    const ready = await this.#rks.line((line) => line["ready"] === true);
    this.#address = String(ready["quic"]);
    this.#httpAddress = String(ready["http"]);
    return this.#rks;
  }

  /** `host:port` of QUIC. */
  get address(): string {
    return this.#address;
  }

  /** `https://host:port` of the Vault API. */
  get httpAddress(): string {
    return this.#httpAddress;
  }

  get controlPlane(): Daemon {
    if (this.#rks === undefined) throw new Error("rks is not running");
    return this.#rks;
  }

  get vaultFolder(): string {
    return join(this.folder, "data");
  }

  get rootCertPath(): string {
    return join(this.vaultFolder, "root.pem");
  }

  get socket(): string {
    return join(this.vaultFolder, "rks.sock");
  }

  async rks(args: readonly string[], options: SpawnOptions = {}): Promise<CommandResult> {
    return runCommand(RKS, args, { ...this.#spawnOptions, ...options });
  }

  async rkl(args: readonly string[], options: SpawnOptions = {}): Promise<CommandResult> {
    return runCommand(RKL, args, options);
  }

  /** `rkl … --socket`, as an operator on the host of rks. */
  async operator(args: readonly string[], options: SpawnOptions = {}): Promise<CommandResult> {
    return runCommand(RKL, [...args, "--socket", this.socket], { ...this.#spawnOptions, ...options });
  }

  async mintToken(args: readonly string[] = []): Promise<MintedToken> {
    const result = await this.rks(["gen", "join-token", "--config", this.configFile, "--json", ...args]);
    return JSON.parse(assertDone(result).stdout) as MintedToken;
  }

  async nodes(): Promise<readonly ListedNode[]> {
    const result = await this.rks(["node", "list", "--config", this.configFile, "--json"]);
    return JSON.parse(assertDone(result).stdout) as ListedNode[];
  }

  /** Start `rkl pod daemon`; the token goes in through stdin. */
  startAgent(name: string, token: string, options: AgentOptions = {}): Daemon {
    const {
      dataFolder = join(this.folder, name),
      rootCertPath = this.rootCertPath,
      rksAddress = this.address,
      ...spawnOptions
    } = options;
    const agent = new Daemon(
      RKL,
      [
        ...["pod", "daemon", "--node-name", name, "--data-dir", dataFolder, "--json"],
        ...["--log-level", "debug"],
        ...["--rks-address", rksAddress, "--join-token-file", "-"],
        ...(rootCertPath === false ? [] : ["--root-cert-path", rootCertPath]),
      ],
      { ...spawnOptions, stdin: `${token}\n` },
    );
    this.#agents.push(agent);
    return agent;
  }

  /** Start an agent with a token of its own and wait until it has registered. */
  async joinNode(name: string, options: AgentOptions = {}): Promise<Daemon> {
    const { token } = await this.mintToken(["--node", name]);
    const agent = this.startAgent(name, token, options);
    await agent.event("registered");
    return agent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const agent of this.#agents) await agent[Symbol.asyncDispose]();
    await this.#rks?.[Symbol.asyncDispose]();
    // What pods still write is gone soon.
    await rm(this.folder, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** The result, when the command succeeded. @throws Error with what it said. */
export function assertDone(result: CommandResult): CommandResult {
  if (result.status === 0) return result;
  throw new Error(`exit ${result.status}\n${result.stdout}\n${result.stderr}`);
}
