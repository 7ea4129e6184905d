import { RksError } from "./errors.js";

/** ALPN of every connection (RFC 7301). */
export const ALPN = "rks/1";

/** Protocol versions that this code speaks, best first. */
export const PROTOCOL_VERSIONS: readonly number[] = [1];

/** The DNS name that every server certificate of the control plane carries, whatever its address. */
export const SERVER_NAME = "rks-cluster";

/**
 * The best version that both sides speak.
 * @throws {RksError} VERSION_UNSUPPORTED naming both lists.
 */
export function negotiateVersion(offered: readonly number[]): number {
  const version = PROTOCOL_VERSIONS.find((own) => offered.includes(own));
  if (version === undefined) {
    throw new RksError(
      "VERSION_UNSUPPORTED",
      `the peer speaks protocol versions ${offered.join(", ")}, this side ${PROTOCOL_VERSIONS.join(", ")}`,
      { suggestion: "Update the older side." },
    );
  }
  return version;
}
