import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";

/** A member of an etcd cluster on loopback, and its addresses. */
export interface EtcdPlace {
  readonly name: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
}

/** Places of so many members, none of which runs yet, at ports that were free a moment ago. `origin`: `https://localhost`, say. */
export async function etcdPlaces(count: number, origin: string): Promise<readonly EtcdPlace[]> {
  const ports = await freePorts(count * 2);
  return Array.from({ length: count }, (_, index) => ({
    name: `m${index + 1}`,
    clientUrl: `${origin}:${ports[2 * index]}`,
    peerUrl: `${origin}:${ports[2 * index + 1]}`,
  }));
}

/** What the member at `place` is started with, one of those at `places`; its data goes into a folder below `folder`. */
export function placeFlags(place: EtcdPlace, places: readonly EtcdPlace[], folder: string): string[] {
  const { name, clientUrl, peerUrl } = place;
  // etcd listens at addresses alone.
  const listen = (url: string): string => url.replace("localhost", "127.0.0.1");
  return [
    `--name=${name}`,
    `--data-dir=${join(folder, name)}`,
    `--listen-client-urls=${listen(clientUrl)}`,
    `--advertise-client-urls=${clientUrl}`,
    `--listen-peer-urls=${listen(peerUrl)}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=${places.map((each) => `${each.name}=${each.peerUrl}`).join(",")}`,
    "--log-level=warn",
    "--logger=zap",
  ];
}

/** Different ones, free a moment ago. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address !== null && typeof address === "object") ports.push(address.port);
  }
  for (const server of servers) {
    server.close();
    await once(server, "close");
  }
  return ports;
}
