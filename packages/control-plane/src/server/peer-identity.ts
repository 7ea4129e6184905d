import { createHash } from "node:crypto";
import { type Connection, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { parseClientLeaf } from "@rk8s/x509";
import { joinTokenRecords, policiesOf } from "../join/join-token-record.js";
import { assertWelcome, nodeEvicted, notCurrent, standingOf } from "../nodes/node-certificates.js";
import { nodeRecords } from "../nodes/node-record.js";

/** The node that a connection's certificate names, and which of its certificates that is. */
export interface NodeIdentity {
  readonly kind: "node";
  readonly name: string;
  readonly serialNumber: string;
  readonly spkiSha256: string;
  readonly notAfter: number;
}

/** Who a connection's certificate names. What the store says about it is another question: `assertCurrent`. */
export type PeerIdentity =
  | { readonly kind: "nobody" }
  | NodeIdentity
  | { readonly kind: "operator"; readonly tokenId: string; readonly notAfter: number };

/**
 * Read who a connection is, from the certificate that TLS has verified: nobody without one, else exactly a node
 * or an operator of this cluster.
 * @throws {RksError} CLIENT_CERTIFICATE_REFUSED, CERTIFICATE_EXPIRED.
 */
export function identifyPeer(
  connection: Connection,
  options: { readonly trustDomain: string; readonly now: number },
): PeerIdentity {
  const [leaf] = connection.peerCertificates;
  if (leaf === undefined) return { kind: "nobody" };
  const identity = parseClientLeaf(leaf, options);
  const { serialNumber, notAfter, spki } = identity.certificate;
  if (identity.kind === "operator") return { kind: "operator", tokenId: identity.tokenId, notAfter };
  const spkiSha256 = createHash("sha256").update(spki).digest("hex");
  return { kind: "node", name: identity.name, serialNumber, spkiSha256, notAfter };
}

/**
 * Check that a certificate still counts: a node's serial number and key are those of its current or next one, an
 * operator's token is not revoked. A valid chain alone identifies nobody.
 * @throws {RksError} NODE_EVICTED, NODE_BANNED, IDENTITY_CLONED, CERTIFICATE_REVOKED, JOIN_TOKEN_REVOKED,
 * CLIENT_CERTIFICATE_REFUSED.
 */
export async function assertCurrent(identity: PeerIdentity, barrier: Storage): Promise<void> {
  if (identity.kind === "node") await assertCurrentNode(identity, barrier);
  if (identity.kind === "operator") await assertCurrentOperator(identity.tokenId, barrier);
}

async function assertCurrentNode(
  { name, serialNumber, spkiSha256 }: NodeIdentity,
  barrier: Storage,
): Promise<void> {
  const record = (await nodeRecords(barrier).read(name))?.record;
  if (record === undefined) throw nodeEvicted(name);
  assertWelcome(record);
  const standing = standingOf(record, { serialNumber, spkiSha256 });
  if (standing === "neither") throw notCurrent(name, serialNumber);
}

async function assertCurrentOperator(tokenId: string, barrier: Storage): Promise<void> {
  const token = (await joinTokenRecords(barrier).read(tokenId))?.record;
  if (token === undefined || token.role !== "operator") {
    throw new RksError("CLIENT_CERTIFICATE_REFUSED", `there is no operator token "${tokenId}"`, {
      suggestion: "Ask for a new token: `rks gen join-token --role operator`.",
    });
  }
  if (token.revokedAt !== null) {
    throw new RksError("JOIN_TOKEN_REVOKED", `join token "${tokenId}" was revoked at ${token.revokedAt}`, {
      suggestion: "Ask for a new token: `rks gen join-token --role operator`.",
    });
  }
}

/** Names of the policies that an operator of this token has. None when there is no such token any more. */
export async function policiesOfOperator(tokenId: string, barrier: Storage): Promise<readonly string[]> {
  const token = (await joinTokenRecords(barrier).read(tokenId))?.record;
  return token === undefined ? [] : policiesOf(token);
}
