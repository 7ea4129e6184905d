import { BlockList, isIP } from "node:net";

import { RksError } from "@rk8s/protocol";

/** `scheme://host:port`, the host as a name, an IPv4 address or an IPv6 address in brackets. */
const ENDPOINT = /^(https?):\/\/(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})\/?$/;

const MAX_ENDPOINTS = 32;

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

/** Where one member of the store is. */
export interface Endpoint {
  /** As it was given, for messages. */
  readonly url: string;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  readonly isSecure: boolean;
}

/**
 * Check the addresses of a store's members; the same one twice counts once.
 * @throws {RksError} CONFIG_INVALID when there is none, when one is malformed, or when one has no TLS and is not on
 * this machine.
 */
export function parseEndpoints(urls: readonly string[]): readonly Endpoint[] {
  const unique = [...new Set(urls)];
  if (unique.length === 0 || unique.length > MAX_ENDPOINTS) {
    throw new RksError(
      "CONFIG_INVALID",
      `the store has ${unique.length} endpoints, from 1 to ${MAX_ENDPOINTS} are possible`,
      {
        suggestion: "Name the store's members as https://host:port.",
      },
    );
  }
  return unique.map((url) => parseEndpoint(url));
}

function parseEndpoint(url: string): Endpoint {
  const match = ENDPOINT.exec(url);
  const host = match?.[2] ?? match?.[3];
  const port = Number(match?.[4]);
  if (
    match === null ||
    host === undefined ||
    port < 1 ||
    port > 65_535 ||
    !isHost(host, match[2] !== undefined)
  ) {
    throw new RksError("CONFIG_INVALID", `"${url}" is not an endpoint of a store`, {
      suggestion: "Write it as https://host:port, for example https://10.0.0.5:2379.",
    });
  }
  const isSecure = match[1] === "https";
  if (!isSecure && !isLoopback(host)) {
    throw new RksError(
      "CONFIG_INVALID",
      `the endpoint "${url}" would send everything unencrypted over the network`,
      {
        suggestion: "Give the store certificates and use https://; http:// is possible on this machine only.",
      },
    );
  }
  return { url, host, port, isSecure };
}

function isHost(host: string, isBracketed: boolean): boolean {
  return isBracketed ? isIP(host) === 6 : isIP(host) === 4 || !/^[\d.]+$/.test(host);
}

function isLoopback(host: string): boolean {
  if (host.toLowerCase() === "localhost") return true;
  const family = isIP(host);
  return family !== 0 && LOOPBACK.check(host, family === 4 ? "ipv4" : "ipv6");
}
