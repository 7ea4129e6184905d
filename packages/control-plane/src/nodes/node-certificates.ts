import { RksError } from "@rk8s/protocol";
import type { NodeCertificate, NodeRecord } from "./node-record.js";

/** What a certificate is to its node: one that counts, or one that it had before. */
export type Standing = "current" | "next" | "neither";

/** What a certificate that names the node is to it, by serial number and key. */
export function standingOf(
  record: NodeRecord,
  presented: Pick<NodeCertificate, "serialNumber" | "spkiSha256">,
): Standing {
  if (isSame(record, presented)) return "current";
  if (record.next !== undefined && isSame(record.next, presented)) return "next";
  return "neither";
}

/** Serial numbers of the certificates that count. */
export function serialNumbersOf(record: NodeRecord): string[] {
  return [record.serialNumber, ...(record.next === undefined ? [] : [record.next.serialNumber])];
}

/** Refuse a node that an operator or a clone alarm keeps out. @throws {RksError} NODE_BANNED, IDENTITY_CLONED. */
export function assertWelcome(record: NodeRecord): void {
  if (record.banned !== undefined) throw nodeBanned(record);
  if (record.cloned !== undefined) throw identityCloned(record.name);
}

/** What a banned node is told. */
export function nodeBanned({ name }: Pick<NodeRecord, "name">): RksError {
  return new RksError("NODE_BANNED", `node "${name}" is banned`, {
    suggestion: `Ask the operator of the cluster; \`rks node unban ${name}\` lifts it.`,
  });
}

/** What a node is told that an operator removed. */
export function nodeEvicted(name: string): RksError {
  return new RksError("NODE_EVICTED", `node "${name}" was evicted`, {
    suggestion: `Join again with a new token: \`rks gen join-token --node ${name}\`.`,
  });
}

/** What both processes are told that use one identity. */
export function identityCloned(name: string): RksError {
  return new RksError("IDENTITY_CLONED", `two processes use the identity of node "${name}"`, {
    suggestion: `Find out where the copy came from; then bring the right one back with \`rks node rejoin ${name}\`.`,
  });
}

/** What whoever changes a node is told when others are faster again and again. */
export function nodeIsChanging(name: string): string {
  return `node "${name}" is changing at this moment`;
}

/** What whoever presents a certificate is told that the node had before. */
export function notCurrent(name: string, serialNumber: string): RksError {
  return new RksError(
    "CERTIFICATE_REVOKED",
    `certificate "${serialNumber}" is not the current one of node "${name}"`,
    { suggestion: `Stop this agent, or bring it back with the token of \`rks node rejoin ${name}\`.` },
  );
}

function isSame(
  one: Pick<NodeCertificate, "serialNumber" | "spkiSha256">,
  other: Pick<NodeCertificate, "serialNumber" | "spkiSha256">,
): boolean {
  return one.serialNumber === other.serialNumber && one.spkiSha256 === other.spkiSha256;
}
