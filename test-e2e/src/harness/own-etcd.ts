import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { EtcdMember } from "@rk8s/storage/testing/etcd";

const START_MS = 30_000;

/** The addresses of an etcd member that does not run yet, on loopback. */
export interface EtcdPlace {
  readonly clientUrl: string;
  readonly peerUrl: string;
}

/** Ports that were free a moment ago. */
export async function etcdPlace(): Promise<EtcdPlace> {
  const [client, peer] = [await freePort(), await freePort()];
  return { clientUrl: `https://localhost:${client}`, peerUrl: `https://localhost:${peer}` };
}

/**
 * Start one etcd with the certificates that `rks gen certs` made for it, as docs/operations.md does, and wait until it serves.
 * `folder`: where its data goes.
 */
export async function startOwnEtcd(
  place: EtcdPlace,
  vaultFolder: string,
  folder: string,
): Promise<EtcdMember> {
  const [member] = await startOwnEtcds([place], vaultFolder, folder);
  return member!;
}

/** The same with several members of one store, whose data goes into folders below `folder`. */
export async function startOwnEtcds(
  places: readonly EtcdPlace[],
  vaultFolder: string,
  folder: string,
): Promise<readonly EtcdMember[]> {
  const named = places.map((place, index) => ({ ...place, name: `store-${index + 1}` }));
  const all = named.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(",");
  const members = await Promise.all(named.map((place) => ownMember(place, all, { vaultFolder, folder })));
  for (const member of members) member.start();
  try {
    await Promise.all(members.map((member) => member.healthy(START_MS)));
    return members;
  } catch (error) {
    for (const member of members) await member.kill();
    throw error;
  }
}

async function ownMember(
  { name, clientUrl, peerUrl }: EtcdPlace & { readonly name: string },
  initialCluster: string,
  { vaultFolder, folder }: { readonly vaultFolder: string; readonly folder: string },
): Promise<EtcdMember> {
  const port = new URL(clientUrl).port;
  const certificates = join(vaultFolder, `xline-localhost-${port}`);
  const file = (part: string): string => join(certificates, part);
  const onLoopback = (url: string): string => url.replace("localhost", "127.0.0.1");
  return new EtcdMember({
    name,
    clientUrl,
    flags: [
      ...[`--name=${name}`, `--data-dir=${join(folder, name)}`, "--log-level=warn", "--logger=zap"],
      ...[`--listen-client-urls=${onLoopback(clientUrl)}`, `--advertise-client-urls=${clientUrl}`],
      ...[`--listen-peer-urls=${onLoopback(peerUrl)}`, `--initial-advertise-peer-urls=${peerUrl}`],
      `--initial-cluster=${initialCluster}`,
      ...[`--cert-file=${file("server.pem")}`, `--key-file=${file("server.key")}`],
      ...["--client-cert-auth", `--trusted-ca-file=${file("ca.pem")}`],
      ...["--client-cert-allowed-hostname=rks-store", "--enable-grpc-gateway=false"],
      ...[`--peer-cert-file=${file("peer.pem")}`, `--peer-key-file=${file("peer.key")}`],
      ...["--peer-client-cert-auth", `--peer-trusted-ca-file=${file("ca.pem")}`],
      "--peer-cert-allowed-cn=rks-store-peer",
    ],
    tls: {
      ca: await readFile(file("ca.pem")),
      cert: await readFile(file("client.pem")),
      key: await readFile(file("client.key")),
    },
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new TypeError("the server has no port");
  return address.port;
}
