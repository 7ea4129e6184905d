import { networkInterfaces } from "node:os";
import type { SocketAddress } from "@rk8s/protocol";
import { formatHostPort, isWildcard } from "../config/address.js";
import type { ControlPlaneConfig } from "../config/config.js";

/**
 * `host:port` for an agent's command line: what the config advertises first, else the address it names, else, for
 * an address that stands for all, the first one of this host that others can reach.
 */
export function agentAddress(config: ControlPlaneConfig, bound: SocketAddress): string {
  const { host } = config.quicAddress;
  const [advertised] = config.advertise;
  return formatHostPort({ host: advertised ?? (isWildcard(host) ? hostAddress() : host), port: bound.port });
}

function hostAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const external = all.filter(({ internal, scopeid }) => !internal && (scopeid ?? 0) === 0);
  const first = external.find(({ family }) => family === "IPv4") ?? external[0];
  return first?.address ?? "127.0.0.1";
}
