import { RksError, SERVER_NAME } from "@rk8s/protocol";
import { parseIpAddress } from "@rk8s/x509";
import type { ServerCertificateRequest, StoreCertificateRequest } from "./cluster-certificate.js";
import type { LeafExtensions } from "./leaf-extensions.js";
import { toDnsName } from "./name-rules.js";

/** Common name and subjectAltNames of a certificate. */
interface NamedLeaf {
  readonly name: string;
  readonly names: LeafExtensions["names"];
}

/** Common names that nodes cannot have (`rks…` is reserved). */
const STORE_CLIENT_NAME = "rks-store";
const STORE_PEER_NAME = "rks-store-peer";

/** What the server's own certificate is named. @throws {RksError} INPUT_INVALID for a name that no certificate can carry. */
export function serverLeaf({ dnsNames, ipAddresses }: ServerCertificateRequest): NamedLeaf {
  const names = [...new Set([SERVER_NAME, ...dnsNames.map(advertisedName)])];
  return { name: SERVER_NAME, names: { dnsNames: names, ipAddresses: [...new Set(ipAddresses)] } };
}

/**
 * What a certificate for the external store is named: its members by their host alone.
 * @throws {RksError} INPUT_INVALID for a host that is none or is the cluster's own name.
 */
export function storeLeaf({ part, host }: StoreCertificateRequest): NamedLeaf {
  if (part === "client" || host === undefined) {
    return { name: STORE_CLIENT_NAME, names: { dnsNames: [STORE_CLIENT_NAME] } };
  }
  const isAddress = parseIpAddress(host) !== undefined;
  const dnsName = isAddress ? undefined : advertisedName(host);
  if (dnsName !== undefined && (dnsName === SERVER_NAME || dnsName === STORE_CLIENT_NAME)) {
    throw new RksError(
      "INPUT_INVALID",
      `"${host}" is a name of the cluster itself, not of a member of its store`,
      {
        suggestion: "Give the host name of the store's member.",
      },
    );
  }
  const names = dnsName === undefined ? { ipAddresses: [host] } : { dnsNames: [dnsName] };
  return { name: part === "peer" ? STORE_PEER_NAME : (dnsName ?? host), names };
}

/** A host name that agents may reach the server by; a wildcard or an address among them would be a mistake. */
function advertisedName(name: string): string {
  const ascii = toDnsName(name.toLowerCase());
  if (ascii !== undefined && !ascii.includes("*") && parseIpAddress(ascii) === undefined) return ascii;
  throw new RksError(
    "INPUT_INVALID",
    `advertised name ${JSON.stringify(name.slice(0, 260))} is not a host name`,
    {
      suggestion: "Give host names and IP addresses without port, prefix length or wildcard.",
    },
  );
}
