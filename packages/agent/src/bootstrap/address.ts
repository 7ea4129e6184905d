import { RksError, type SocketAddress } from "@rk8s/protocol";

/**
 * Read the address of a control plane: `host:port` with a name, an IPv4 address or an IPv6 address in brackets.
 * @throws {RksError} USAGE_INVALID naming the text.
 */
export function parseRksAddress(text: string): SocketAddress {
  const match = /^(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([^\s:[\]/@]{1,253})):(\d{1,5})$/.exec(text.trim());
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) {
    throw new RksError("USAGE_INVALID", `address ${JSON.stringify(text.slice(0, 300))} is not host:port`, {
      suggestion: "Write the address as 10.0.0.1:50051, rks.example:50051 or [2001:db8::1]:50051.",
    });
  }
  return { host: match[1] ?? match[2]!, port };
}

/** The address as `parseRksAddress` reads it. */
export function formatAddress(address: SocketAddress): string {
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}
