import { RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { z } from "zod";
import { Serial } from "../../vault/serial.js";
import { hasAccessUrls, NO_ACCESS_URLS } from "./access-points.js";
import type { AccessUrls, Issuer } from "./issuer.js";

/** Where clients reach this mount from outside; templates of access points use it. Empty: not set. */
export interface ClusterPaths {
  readonly path: string;
  readonly aia_path: string;
}

const URLS = "config/urls";
const CLUSTER = "config/cluster";
const list = z.array(z.string());
const urlsSchema = z.object({
  issuing_certificates: list,
  crl_distribution_points: list,
  delta_crl_distribution_points: list,
  ocsp_servers: list,
  enable_templating: z.boolean(),
});
const clusterSchema = z.object({ path: z.string(), aia_path: z.string() });

/** `config/urls` and `config/cluster` of a mount. */
export class AccessConfig {
  readonly #storage: Storage;
  readonly #prefix: string;
  readonly #changes = new Serial();
  #urls: AccessUrls = NO_ACCESS_URLS;
  #cluster: ClusterPaths = { path: "", aia_path: "" };
  #version = 0;

  private constructor(storage: Storage, prefix: string) {
    this.#storage = storage;
    this.#prefix = prefix;
  }

  /** @throws {RksError} STORAGE_CORRUPT. */
  static async open(storage: Storage, prefix: string): Promise<AccessConfig> {
    const config = new AccessConfig(storage, prefix);
    config.#urls = (await config.#read(URLS, urlsSchema)) ?? config.#urls;
    config.#cluster = (await config.#read(CLUSTER, clusterSchema)) ?? config.#cluster;
    return config;
  }

  /** Of issuers without their own. */
  get urls(): AccessUrls {
    return this.#urls;
  }

  get cluster(): ClusterPaths {
    return this.#cluster;
  }

  /** Grows with every change, so that what was made of the configuration can be told to be old. */
  get version(): number {
    return this.#version;
  }

  /** Changes wait for each other, so that none is made of something old. */
  setUrls(change: (before: AccessUrls) => AccessUrls): Promise<void> {
    return this.#changes.run(async () => {
      const urls = change(this.#urls);
      await this.#write(URLS, urls);
      this.#urls = urls;
      this.#version += 1;
    });
  }

  /** As `setUrls`. */
  setCluster(change: (before: ClusterPaths) => ClusterPaths): Promise<void> {
    return this.#changes.run(async () => {
      const cluster = change(this.#cluster);
      await this.#write(CLUSTER, cluster);
      this.#cluster = cluster;
      this.#version += 1;
    });
  }

  /**
   * The access points of what an issuer signs, its own before the mount's, templates filled in.
   * @throws {RksError} INPUT_INVALID when a template needs a path that `config/cluster` has not.
   */
  urlsOf(issuer: Pick<Issuer, "id" | "accessUrls">): AccessUrls {
    const own = issuer.accessUrls;
    const urls = own !== undefined && hasAccessUrls(own) ? own : this.#urls;
    if (!urls.enable_templating) return urls;
    const fill = (templates: readonly string[]) => templates.map((text) => this.#fill(text, issuer.id));
    return {
      issuing_certificates: fill(urls.issuing_certificates),
      crl_distribution_points: fill(urls.crl_distribution_points),
      delta_crl_distribution_points: fill(urls.delta_crl_distribution_points),
      ocsp_servers: fill(urls.ocsp_servers),
      enable_templating: false,
    };
  }

  #fill(template: string, issuerId: string): string {
    const values: Readonly<Record<string, string>> = {
      issuer_id: issuerId,
      cluster_path: this.#cluster.path,
      cluster_aia_path: this.#cluster.aia_path,
    };
    return template.replaceAll(/\{\{\s*([a-z_]+)\s*\}\}/g, (whole, name: string) => {
      const value = values[name] ?? whole;
      if (value !== "") return value;
      const field = name === "cluster_path" ? "path" : "aia_path";
      throw new RksError("INPUT_INVALID", `access points need {{${name}}}, which config/cluster has not`, {
        suggestion: `Write config/cluster with ${field}, or take {{${name}}} out of the URLs.`,
      });
    });
  }

  async #read<T>(name: string, schema: z.ZodType<T>): Promise<T | undefined> {
    const entry = await this.#storage.get(this.#prefix + name);
    if (entry === undefined) return undefined;
    try {
      return schema.parse(JSON.parse(new TextDecoder().decode(entry.value)));
    } catch (cause) {
      throw new RksError("STORAGE_CORRUPT", `the PKI record "${this.#prefix}${name}" cannot be read`, {
        cause,
        suggestion: "Restore the data folder from a backup.",
      });
    }
  }

  async #write(name: string, value: object): Promise<void> {
    const write = {
      type: "put",
      key: this.#prefix + name,
      value: Buffer.from(JSON.stringify(value)),
    } as const;
    await this.#storage.transaction([], [write]);
  }
}
