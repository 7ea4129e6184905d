import { RksError } from "@rk8s/protocol";
import { parseCertificate } from "@rk8s/x509";
import { type ClusterRoots, isOffline, issuersOf, rootsOf } from "../pki/cluster-roots.js";
import { isSignedBy } from "../pki/signing.js";

/**
 * What the signature on a client's certificate is worth: it `counts`, or its issuer is `tainted`: then only what else is
 * known of the certificate does.
 */
export type IssuerStanding = "counts" | "tainted";

/**
 * Refuse the certificate of a client when who signed it does not count. TLS lets in whatever leads to a root of the
 * cluster: also what another authority below the same offline root has signed, and, so that whoever was away can be told,
 * what a retired root has. A tainted issuer's signature says nothing: a node's certificate is compared with its record
 * afterwards, which no forger meets; an operator's has no record, and is refused.
 * @throws {RksError} CA_PIN_RETIRED; CLIENT_CERTIFICATE_REFUSED for an operator's certificate of a tainted issuer, and for
 * one of nobody who signs for this cluster.
 */
export function assertIssuerCounts(
  leaf: Uint8Array,
  role: "node" | "operator",
  clusterRoots: ClusterRoots,
): IssuerStanding {
  const roots = rootsOf(clusterRoots);
  const isPlain = roots.every(({ standing }) => standing !== "retired" && standing !== "tainted");
  if (isPlain && !roots.some(isOffline)) return "counts";
  // The signature and not the name: who has another issuer's key can write any name.
  const signed = parseCertificate(leaf);
  for (const root of roots) {
    const issuer = issuersOf(root).find(({ certificate }) => isSignedBy(signed, certificate.publicKey));
    if (issuer === undefined) continue;
    if (root.standing === "retired") throw pinRetired("the certificate", role);
    const isTainted = root.standing === "tainted" || issuer.isTainted;
    if (isTainted && role === "operator") throw provesNothing("is of a tainted authority proves nothing");
    return isTainted ? "tainted" : "counts";
  }
  throw provesNothing("nobody has signed who signs for this cluster proves nothing");
}

/**
 * Refuse a join token that pins a root which does not count any more. An older record without a pin was made for the
 * first root.
 * @throws {RksError} CA_PIN_RETIRED, JOIN_TOKEN_REVOKED when the root is tainted.
 */
export function assertPinCounts(
  token: { readonly id: string; readonly pin?: string | undefined; readonly role: "node" | "operator" },
  { founder, active, other }: ClusterRoots,
): void {
  const pin = token.pin ?? founder;
  const isOf = (root: typeof active): boolean => Buffer.from(root.spkiSha256).toString("hex") === pin;
  if (isOf(active)) return;
  if (other === undefined || !isOf(other) || other.standing === "retired") {
    throw pinRetired(`join token "${token.id}"`, token.role);
  }
  if (other.standing !== "tainted") return;
  throw new RksError("JOIN_TOKEN_REVOKED", `join token "${token.id}" pins a root that is tainted`, {
    suggestion: "Ask for a new token: `rks gen join-token`.",
  });
}

function provesNothing(what: string): RksError {
  return new RksError("CLIENT_CERTIFICATE_REFUSED", `a certificate that ${what}`, {
    suggestion: "Ask for a new token: `rks gen join-token`.",
  });
}

function pinRetired(what: string, role: "node" | "operator"): RksError {
  return new RksError("CA_PIN_RETIRED", `${what} is of a root of the cluster that was retired`, {
    suggestion:
      role === "node"
        ? "Bring the node back with the token of `rks node rejoin NAME`."
        : "Ask for a new token: `rks gen join-token --role operator`.",
  });
}
