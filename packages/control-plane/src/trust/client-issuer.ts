import { X509Certificate } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import type { ClusterRoots } from "../pki/cluster-roots.js";

/**
 * Refuse the certificate of a client when the root that signed it does not count any more. TLS still lets it in, so that
 * whoever was away can be told. A tainted root's signature says nothing: a node's certificate is compared with its record
 * afterwards, which no forger meets; an operator's has no record, and is refused.
 * @throws {RksError} CA_PIN_RETIRED; CLIENT_CERTIFICATE_REFUSED for an operator's certificate of a tainted root.
 */
export function assertIssuerCounts(
  leaf: Uint8Array,
  role: "node" | "operator",
  { active, other }: ClusterRoots,
): void {
  if (other?.standing !== "retired" && other?.standing !== "tainted") return;
  // The signature and not the name: who has the other root's key can write any name.
  const activeKey = new X509Certificate(active.certificate.der).publicKey;
  if (new X509Certificate(leaf).verify(activeKey)) return;
  if (other.standing === "retired") throw pinRetired("the certificate", role);
  if (role === "node") return;
  throw new RksError(
    "CLIENT_CERTIFICATE_REFUSED",
    "an operator's certificate of a tainted root proves nothing",
    { suggestion: "Ask for a new token: `rks gen join-token --role operator`." },
  );
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

function pinRetired(what: string, role: "node" | "operator"): RksError {
  return new RksError("CA_PIN_RETIRED", `${what} is of a root of the cluster that was retired`, {
    suggestion:
      role === "node"
        ? "Bring the node back with the token of `rks node rejoin NAME`."
        : "Ask for a new token: `rks gen join-token --role operator`.",
  });
}
