import { createHash } from "node:crypto";
import { type Connection, RksError } from "@rk8s/protocol";
import { parseClientLeaf } from "@rk8s/x509";
import { nodeBanned } from "../join/join-rules.js";
import { joinTokenRecords } from "../join/join-token-record.js";
import { nodeRecords } from "../nodes/node-record.js";
import type { Storage } from "../storage/storage.js";

/** Who a connection's certificate names. What the store says about it is another question: `assertCurrent`. */
export type PeerIdentity =
  | { readonly kind: "nobody" }
  | {
      readonly kind: "node";
      readonly name: string;
      readonly serialNumber: string;
      readonly spkiSha256: string;
      readonly notAfter: number;
    }
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
 * Check that a certificate is still the one that counts: a node's serial number and key are those of its
 * record, an operator's token is not revoked. A valid chain alone identifies nobody.
 * @throws {RksError} NODE_EVICTED, NODE_BANNED, CERTIFICATE_REVOKED, JOIN_TOKEN_REVOKED,
 * CLIENT_CERTIFICATE_REFUSED.
 */
export async function assertCurrent(identity: PeerIdentity, barrier: Storage): Promise<void> {
  if (identity.kind === "node") await assertCurrentNode(identity, barrier);
  if (identity.kind === "operator") await assertCurrentOperator(identity.tokenId, barrier);
}

async function assertCurrentNode(
  { name, serialNumber, spkiSha256 }: Extract<PeerIdentity, { kind: "node" }>,
  barrier: Storage,
): Promise<void> {
  const record = (await nodeRecords(barrier).read(name))?.record;
  if (record === undefined) {
    throw new RksError("NODE_EVICTED", `node "${name}" was evicted`, {
      suggestion: `Join again with a new token: \`rks gen join-token --node ${name}\`.`,
    });
  }
  if (record.banned !== undefined) throw nodeBanned(record);
  if (record.serialNumber !== serialNumber || record.spkiSha256 !== spkiSha256) {
    throw new RksError(
      "CERTIFICATE_REVOKED",
      `certificate "${serialNumber}" is not the current one of node "${name}"`,
      { suggestion: `Stop this agent, or bring it back with the token of \`rks node rejoin ${name}\`.` },
    );
  }
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
