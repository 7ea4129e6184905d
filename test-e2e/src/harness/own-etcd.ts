import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { assertDone } from "./cluster.js";
import { runOutside } from "./outside-program.js";
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

/** The folder that `rks gen certs` made for the member at this address. */
function memberFolder(vaultFolder: string, clientUrl: string): string {
  const { hostname, port } = new URL(clientUrl);
  return join(vaultFolder, `xline-${hostname}-${port}`);
}

/** A member with the certificates of its folder, not started yet. `prefix`: words before the command. */
export async function ownMember(
  { name, clientUrl }: EtcdPlace,
  flags: readonly string[],
  vaultFolder: string,
  prefix: readonly string[] = [],
): Promise<EtcdMember> {
  const certificates = memberFolder(vaultFolder, clientUrl);
  const file = (part: string): string => join(certificates, part);
  return new EtcdMember({
    name,
    clientUrl,
    prefix,
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

/** Run etcdctl with the certificate that a member's folder has for its own tools, and give what it prints. */
export async function ownEtcdctl(
  clientUrls: readonly string[],
  vaultFolder: string,
  words: readonly string[],
  prefix: readonly string[] = [],
): Promise<string> {
  const folder = memberFolder(vaultFolder, clientUrls[0]!);
  const file = (part: string): string => join(folder, part);
  const tls = ["--cacert", file("ca.pem"), "--cert", file("client.pem"), "--key", file("client.key")];
  const [command = "etcdctl", ...args] = [
    ...[...prefix, "etcdctl", "--endpoints", clientUrls.join(",")],
    ...[...tls, ...words],
  ];
  return assertDone(await runOutside(command, args, { env: { ETCDCTL_API: "3" } })).stdout;
}
