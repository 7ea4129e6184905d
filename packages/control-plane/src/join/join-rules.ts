import { assertNodeName, type Message, RksError } from "@rk8s/protocol";
import { type CertificateRequest, nameValues, OID } from "@rk8s/x509";
import { identityCloned, nodeBanned } from "../nodes/node-certificates.js";
import type { NodeRecord } from "../nodes/node-record.js";
import { isUsedUp, type JoinTokenRecord } from "./join-token-record.js";

const NEW_TOKEN = "Ask for a new token: `rks gen join-token`.";

/**
 * Refuse a token that is revoked, expired or used up, saying when and by whom. Only its holder gets to hear
 * this.
 * @throws {RksError} JOIN_TOKEN_REVOKED, JOIN_TOKEN_EXPIRED, JOIN_TOKEN_USED.
 */
export function assertUsable(token: JoinTokenRecord, now: number): void {
  const name = `join token "${token.id}"`;
  const users = token.usedBy.slice(-3).map(({ node, at }) => `node "${node}" at ${at}`);
  const usedBy = users.length === 0 ? "" : ` was used by ${users.join(", ")}`;
  if (token.revokedAt !== null) {
    throw new RksError("JOIN_TOKEN_REVOKED", `${name} was revoked at ${token.revokedAt}`, {
      suggestion: NEW_TOKEN,
    });
  }
  if (now >= Date.parse(token.expiresAt)) {
    const message = `${name} expired at ${token.expiresAt}${usedBy === "" ? "" : `; it${usedBy}`}`;
    throw new RksError("JOIN_TOKEN_EXPIRED", message, { suggestion: NEW_TOKEN });
  }
  if (isUsedUp(token)) {
    throw new RksError("JOIN_TOKEN_USED", `${name}${usedBy}`, {
      suggestion: `${NEW_TOKEN} To bring that node back under a new key: \`rks node rejoin ${token.usedBy.at(-1)?.node ?? "NAME"}\`.`,
    });
  }
}

/** Refuse a role or a name that the token is not for. @throws {RksError} JOIN_TOKEN_SCOPE. */
export function assertScope(token: JoinTokenRecord, request: Message<"CertificateSign">): void {
  if (request.role !== token.role) {
    throw new RksError(
      "JOIN_TOKEN_SCOPE",
      `join token "${token.id}" is for the role "${token.role}", not for "${request.role}"`,
      { suggestion: `Ask for another token: \`rks gen join-token --role ${request.role}\`.` },
    );
  }
  const { nodeName } = request;
  if (token.node !== null && nodeName !== undefined && nodeName !== token.node) {
    throw new RksError(
      "JOIN_TOKEN_SCOPE",
      `join token "${token.id}" is for the node "${token.node}", not for "${nodeName.slice(0, 80)}"`,
      { suggestion: `Leave --node-name out, or ask for another token: \`rks gen join-token --node NAME\`.` },
    );
  }
}

/**
 * The name that a node gets: the one it asks for, else the token's, else the common name of its request in
 * lower case, where agents put their host name. A common name beside another name that is asked for is a
 * contradiction; beside the token's name it is only what the host is called.
 * @throws {RksError} NODE_NAME_INVALID, CSR_INVALID.
 */
export function chooseNodeName(
  token: JoinTokenRecord,
  requested: string | undefined,
  request: CertificateRequest,
): string {
  const commonNames = nameValues(request.subject, OID.commonName);
  const name = requested ?? token.node ?? commonNames[0]?.toLowerCase();
  if (name === undefined) {
    throw new RksError("NODE_NAME_INVALID", "neither the request nor the token names the node", {
      suggestion: "Give --node-name, or ask for a token with a name: `rks gen join-token --node NAME`.",
    });
  }
  assertNodeName(name);
  if (requested !== undefined) assertCommonNames(commonNames, requested);
  return name;
}

function assertCommonNames(commonNames: readonly string[], requested: string): void {
  const other = commonNames.find((commonName) => commonName.toLowerCase() !== requested);
  if (other === undefined) return;
  throw new RksError(
    "CSR_INVALID",
    `certificate request is refused: it is for CN ${JSON.stringify(other.slice(0, 80))}, asked for is the name "${requested}"`,
    { suggestion: "Make a request for that name, or for none at all." },
  );
}

/**
 * Refuse a name that is another node's. The same key is the same node; a rejoin token brings back the node it
 * was made for and no other.
 * @throws {RksError} NODE_BANNED, IDENTITY_CLONED for the key that was copied, NODE_NAME_TAKEN, JOIN_TOKEN_SCOPE.
 */
export function assertNameFree(
  token: JoinTokenRecord,
  name: string,
  node: NodeRecord | undefined,
  spkiSha256: string,
): void {
  if (node?.banned !== undefined) throw nodeBanned(node);
  if (node?.cloned !== undefined && node.spkiSha256 === spkiSha256) throw identityCloned(name);
  if (token.rejoins !== null) {
    if (node?.uid === token.rejoins) return;
    throw new RksError(
      "JOIN_TOKEN_SCOPE",
      `join token "${token.id}" is for a node "${name}" that was forgotten`,
      {
        suggestion: `Ask for a new token: \`rks gen join-token --node ${name}\`.`,
      },
    );
  }
  if (node === undefined || node.spkiSha256 === spkiSha256) return;
  throw new RksError("NODE_NAME_TAKEN", `the name "${name}" belongs to another node since ${node.joinedAt}`, {
    suggestion: `Choose another name with --node-name, or, if it is the same machine, run \`rks node rejoin ${name}\` and join with that token.`,
  });
}
