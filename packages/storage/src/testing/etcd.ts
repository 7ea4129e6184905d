import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { type CertificateFiles, type PemCredentials, TestAuthority } from "./etcd-certificates.js";
import { EtcdMember } from "./etcd-member.js";
import { etcdPlaces, placeFlags } from "./etcd-place.js";

export { EtcdMember } from "./etcd-member.js";
export { type EtcdPlace, etcdPlaces, placeFlags } from "./etcd-place.js";
export { standStill } from "./stand-still.js";

const run = promisify(execFile);

/** Generous: three members start on two busy cores. */
const START_MS = 30_000;
/** A port that was free may be taken before etcd listens on it. */
const MAX_STARTS = 3;

export interface EtcdClusterInit {
  /** Default: 1. */
  readonly members?: 1 | 3;
  /** Mutual TLS between members and with clients. Default: true. */
  readonly tls?: boolean;
  /** Further flags of every member, for example `--quota-backend-bytes=33554432`. */
  readonly flags?: readonly string[];
}

/** Whether the etcd server and its client command are installed; a suite that needs them is skipped where they are not. */
export function hasEtcd(): boolean {
  const runs = (program: string, argument: string): boolean =>
    spawnSync(program, [argument], { stdio: "ignore", env: environment() }).status === 0;
  return runs("etcd", "--version") && runs("etcdctl", "version") && runs("openssl", "version");
}

/** A real etcd cluster on loopback, in a temporary folder, with certificates of its own. */
export class EtcdCluster implements AsyncDisposable {
  readonly members: readonly EtcdMember[];
  /** Undefined without TLS. */
  readonly authority: TestAuthority | undefined;
  readonly #folder: string;
  readonly #root: CertificateFiles | undefined;

  private constructor(
    folder: string,
    members: readonly EtcdMember[],
    authority: TestAuthority | undefined,
    root: CertificateFiles | undefined,
  ) {
    this.#folder = folder;
    this.members = members;
    this.authority = authority;
    this.#root = root;
  }

  /** Start one and wait until it serves. */
  static async start(init: EtcdClusterInit = {}): Promise<EtcdCluster> {
    for (let starts = 1; ; starts += 1) {
      const cluster = await EtcdCluster.#create(init);
      try {
        for (const member of cluster.members) member.start();
        await Promise.all(cluster.members.map((member) => member.healthy(START_MS)));
        return cluster;
      } catch (reason) {
        await cluster[Symbol.asyncDispose]();
        if (starts === MAX_STARTS) throw reason;
      }
    }
  }

  static async #create(init: EtcdClusterInit): Promise<EtcdCluster> {
    const { members: count = 1, tls = true, flags = [] } = init;
    const folder = await mkdtemp(join(tmpdir(), "rks-etcd-"));
    const authority = tls ? await TestAuthority.create(join(folder, "certificates")) : undefined;
    const server = await authority?.server("member");
    // etcd's first user must be root; the other tests' clients need none.
    const root = await authority?.client("root");
    const places = await etcdPlaces(count, `${tls ? "https" : "http"}://127.0.0.1`);
    const clientTls = root === undefined ? undefined : await tlsOptions(root);
    const members = places.map(
      (place) =>
        new EtcdMember({
          name: place.name,
          clientUrl: place.clientUrl,
          flags: [...placeFlags(place, places, folder), ...tlsFlags(server), ...flags],
          tls: clientTls,
        }),
    );
    return new EtcdCluster(folder, members, authority, root);
  }

  /** Client addresses of all members. */
  get endpoints(): readonly string[] {
    return this.members.map(({ clientUrl }) => clientUrl);
  }

  /** What a client of that name shows and trusts. */
  async credentials(commonName: string): Promise<PemCredentials> {
    if (this.authority === undefined) throw new TypeError("a cluster without TLS has no certificates");
    return this.authority.credentials(commonName);
  }

  /** Waits for one, when there is none yet. */
  async leader(): Promise<EtcdMember> {
    const end = performance.now() + START_MS;
    while (performance.now() < end) {
      for (const member of this.members) {
        if (await member.isLeader()) return member;
      }
    }
    throw new Error("the cluster has no leader");
  }

  /** Run etcdctl as root and give what it prints. */
  async etcdctl(...words: readonly string[]): Promise<string> {
    const running = this.members.filter((member) => member.isRunning).map(({ clientUrl }) => clientUrl);
    const root = this.#root;
    const tls =
      root === undefined
        ? []
        : [`--cacert=${root.ca}`, `--cert=${root.certificate}`, `--key=${root.privateKey}`];
    const { stdout } = await run("etcdctl", [`--endpoints=${running.join(",")}`, ...tls, ...words], {
      env: environment(),
    });
    return stdout;
  }

  /** End all members and remove the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()));
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** etcdctl 3.4 and older otherwise may speak version 2. */
function environment(): { readonly PATH: string; readonly ETCDCTL_API: string } {
  return { PATH: process.env["PATH"] ?? "", ETCDCTL_API: "3" };
}

function tlsFlags(server: CertificateFiles | undefined): string[] {
  if (server === undefined) return [];
  const { ca, certificate, privateKey } = server;
  return ["", "peer-"].flatMap((side) => [
    `--${side}cert-file=${certificate}`,
    `--${side}key-file=${privateKey}`,
    `--${side}trusted-ca-file=${ca}`,
    `--${side}client-cert-auth`,
  ]);
}

async function tlsOptions({ ca, certificate, privateKey }: CertificateFiles): Promise<{
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}> {
  return { ca: await readFile(ca), cert: await readFile(certificate), key: await readFile(privateKey) };
}
