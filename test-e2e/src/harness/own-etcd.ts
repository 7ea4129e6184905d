import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { EtcdMember, type EtcdPlace, etcdPlaces, placeFlags } from "@rk8s/storage/testing/etcd";

const START_MS = 30_000;

/** Where members of a store are to run, at names that `rks gen certs` makes certificates for. */
export async function ownEtcdPlaces(count: number): Promise<readonly EtcdPlace[]> {
  return etcdPlaces(count, "https://localhost");
}

/**
 * Start the members of one etcd with the certificates that `rks gen certs` made for them, as docs/operations.md does, and wait
 * until they serve. Their data goes into folders below `folder`.
 */
export async function startOwnEtcd(
  places: readonly EtcdPlace[],
  vaultFolder: string,
  folder: string,
): Promise<readonly EtcdMember[]> {
  const members = await Promise.all(
    places.map((place) => ownMember(place, placeFlags(place, places, folder), vaultFolder)),
  );
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
  { name, clientUrl }: EtcdPlace,
  flags: readonly string[],
  vaultFolder: string,
): Promise<EtcdMember> {
  const certificates = join(vaultFolder, `xline-localhost-${new URL(clientUrl).port}`);
  const file = (part: string): string => join(certificates, part);
  return new EtcdMember({
    name,
    clientUrl,
    flags: [
      ...flags,
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
