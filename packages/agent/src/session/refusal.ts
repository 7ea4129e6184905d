import { closeError, RksError, type ConnectionEnd, type ErrorCode } from "@rk8s/protocol";
import type { Identity } from "../identity/identity.js";

/** What a control plane says of one certificate; the node may have a newer one. */
const ABOUT_CERTIFICATE: ReadonlySet<ErrorCode> = new Set([
  "CA_PIN_RETIRED",
  "CERTIFICATE_EXPIRED",
  "CERTIFICATE_REVOKED",
  "CLIENT_CERTIFICATE_REFUSED",
]);

/** What it says of the node, whatever its certificate. */
const ABOUT_NODE: ReadonlySet<ErrorCode> = new Set(["IDENTITY_CLONED", "NODE_BANNED", "NODE_EVICTED"]);

/**
 * Further answers of a control plane that has proven who it is and will not change its mind about this node. Anything
 * else, a server that cannot be verified included, may be a passing trouble of a cluster that this node already belongs
 * to: it keeps trying while its certificate lives.
 */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  "NODE_NAME_INVALID",
  "NODE_NAME_TAKEN",
  "PERMISSION_DENIED",
  "VERSION_UNSUPPORTED",
]);

const REMEDIES: { readonly [C in ErrorCode]?: (nodeName: string) => string } = {
  NODE_EVICTED: (nodeName) => `Join again with a new token: \`rks gen join-token --node ${nodeName}\`.`,
  NODE_BANNED: (nodeName) => `Ask the operator of the cluster; \`rks node unban ${nodeName}\` lifts it.`,
  CA_PIN_RETIRED: rejoin,
  CERTIFICATE_EXPIRED: rejoin,
  CERTIFICATE_REVOKED: rejoin,
  CLIENT_CERTIFICATE_REFUSED: rejoin,
  IDENTITY_CLONED: rejoin,
};

/** Whether a session that failed with this error must not be tried again. */
export function isFinalForSession(error: RksError): boolean {
  return FINAL.has(error.code) || endsNode(error);
}

/** Whether the node cannot go on with the identity that it has now. */
export function endsNode(error: RksError): boolean {
  return ABOUT_NODE.has(error.code) || isAboutCertificate(error);
}

/** Whether another certificate of the same node may be welcome. */
export function isAboutCertificate(error: RksError): boolean {
  return ABOUT_CERTIFICATE.has(error.code);
}

/** The certificate's time is over; `cause` is why there is no newer one. */
export function certificateExpired(identity: Identity, cause?: RksError): RksError {
  const { role, nodeName, notAfter } = identity;
  const what = role === "node" ? `certificate of node "${nodeName}"` : "certificate";
  const why = cause === undefined ? "" : ` and could not be renewed: ${cause.message}`;
  return new RksError("CERTIFICATE_EXPIRED", `the ${what} expired at ${notAfter.toISOString()}${why}`, {
    suggestion: role === "node" ? rejoin(nodeName) : "Run the command again.",
    cause,
  });
}

/** The error with the way back for this node, where it does not say one itself: a connection's end has no room for it. */
export function withRemedy(error: RksError, nodeName: string): RksError {
  const suggestion = error.suggestion ?? REMEDIES[error.code]?.(nodeName);
  return suggestion === error.suggestion
    ? error
    : new RksError(error.code, error.message, { suggestion, cause: error.cause });
}

function rejoin(nodeName: string): string {
  return `Run \`rks node rejoin ${nodeName}\` on the control plane and start again with the token that it prints.`;
}

/** The error behind a connection's end: what either side closed it with, or how it was lost. */
export function errorOfEnd(end: ConnectionEnd): RksError {
  if (end.by !== "lost") return closeError(end.code, end.reason);
  if (end.error instanceof RksError) return end.error;
  return new RksError("CONNECTION_LOST", "the connection to the control plane ended", { cause: end.error });
}
