import { isInNetwork } from "../vault/cidr.js";
import type { Connection } from "../vault/backend.js";

/** Whether a connection comes from one of the networks. No networks: from anywhere; no address: from nowhere. */
export function isFrom(cidrs: readonly string[], { remoteAddress }: Connection): boolean {
  if (cidrs.length === 0) return true;
  return remoteAddress !== undefined && cidrs.some((cidr) => isInNetwork(remoteAddress, cidr));
}

/** Whether each of the networks lies in one of the outer ones; all in CIDR notation as `normalizeCidr` gives it. */
export function areWithin(cidrs: readonly string[], outer: readonly string[]): boolean {
  return outer.length === 0 || cidrs.every((cidr) => outer.some((other) => isWithin(cidr, other)));
}

function isWithin(cidr: string, outer: string): boolean {
  const [base = "", bits] = cidr.split("/");
  const [, outerBits] = outer.split("/");
  return Number(bits) >= Number(outerBits) && isInNetwork(base, outer);
}
