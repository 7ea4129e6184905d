import { X509Certificate } from "node:crypto";
import { ALPN, equalBytes, SERVER_NAME, type RksError, type SocketAddress } from "@rk8s/protocol";
import { assertServerLeaf, parseCertificate, type Certificate } from "@rk8s/x509";
import { clockSkew } from "../identity/clock-skew.js";
import type { AgentPorts } from "../ports.js";
import { formatAddress } from "./address.js";

/**
 * The error to tell when a server could not be verified: CLOCK_SKEW when its certificates are the trusted ones and only
 * their dates do not hold by this host's clock. For that the certificates are fetched again, without verification, and
 * nothing is sent; whatever comes of it, the server stays refused.
 */
export async function explainByDates(
  error: RksError,
  init: { readonly address: SocketAddress; readonly roots: readonly Uint8Array[] },
  options: { readonly ports: AgentPorts; readonly signal: AbortSignal | undefined },
): Promise<RksError> {
  if (error.code !== "SERVER_UNTRUSTED") return error;
  const { transport, clock } = options.ports;
  const target = { ...init.address, alpn: ALPN, serverName: SERVER_NAME };
  try {
    const chain = await transport.probe({ ...target, signal: options.signal });
    const certificates = trustedChain(chain, init.roots);
    if (certificates === undefined) return error;
    const whose = `control plane at "${formatAddress(init.address)}"`;
    return clockSkew(certificates, { nowMs: clock.now(), whose }) ?? error;
  } catch {
    return error;
  }
}

/** The certificates up to a trusted root when each is signed by the next and the leaf is a control plane's; dates apart. */
function trustedChain(
  chain: readonly Uint8Array[],
  roots: readonly Uint8Array[],
): readonly Certificate[] | undefined {
  const [leaf] = chain;
  if (leaf === undefined) return undefined;
  assertServerLeaf(leaf, { dnsName: SERVER_NAME, now: parseCertificate(leaf).notBefore });
  const path: Certificate[] = [];
  for (const [i, der] of chain.entries()) {
    path.push(parseCertificate(der));
    if (roots.some((root) => equalBytes(root, der))) return path;
    const root = roots.find((candidate) => isSignedBy(der, candidate));
    if (root !== undefined) return [...path, parseCertificate(root)];
    const next = chain[i + 1];
    if (next === undefined || !isSignedBy(der, next)) return undefined;
  }
  return undefined;
}

function isSignedBy(der: Uint8Array, issuerDer: Uint8Array): boolean {
  const issuer = parseCertificate(issuerDer);
  if (!issuer.isCa || !equalBytes(parseCertificate(der).issuer.der, issuer.subject.der)) return false;
  return new X509Certificate(der).verify(new X509Certificate(issuerDer).publicKey);
}
