import { isIP } from "node:net";
import { RksError } from "@rk8s/protocol";
import type { HostPort } from "./config.js";

/** RFC 1123 §2.1 with RFC 1035's lengths; underscores are not host names. */
const HOST_NAME =
  /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i;

/**
 * Read `host:port`: a host name, an IPv4 address or an IPv6 address in brackets, and a port from 0 to 65535.
 * @throws {RksError} INPUT_INVALID naming the text.
 */
export function parseHostPort(text: string): HostPort {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const [, bracketed, plain, digits] = match ?? [];
  const port = Number(digits);
  if (match === null || port > 65_535) throw refused(text);
  if (bracketed !== undefined) {
    if (isIP(bracketed) !== 6) throw refused(text);
    return { host: bracketed, port };
  }
  if (!isHost(plain ?? "")) throw refused(text);
  return { host: plain!, port };
}

/** `host:port` as `parseHostPort` reads it. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether the text is a host name or an IP address (no brackets, no port). */
export function isHost(text: string): boolean {
  // What looks like an IPv4 address but is none (`1.2.3`, `10.0.0.256`) would pass as a host name.
  return isIP(text) !== 0 || (HOST_NAME.test(text) && !/(?:^|\.)\d+$/.test(text));
}

/** Whether the address stands for every address of the host. */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || /^[0:]+$/.test(host);
}

function refused(text: string): RksError {
  return new RksError(
    "INPUT_INVALID",
    `address ${JSON.stringify(text.slice(0, 280))} is not like 127.0.0.1:50051, [::1]:50051 or rks.example:50051`,
    { suggestion: "Write host:port, an IPv6 address in brackets." },
  );
}
