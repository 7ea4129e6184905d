import { equalBytes, utf8 } from "../bytes.js";
import { RksError } from "../errors.js";

/** What a peer presented and what it is judged by. */
export interface PresentedChain {
  /** Who presented it. */
  readonly usage: "server" | "client";
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  readonly roots: readonly Uint8Array[];
  /** The name that a server must have; undefined for a client. */
  readonly serverName: string | undefined;
}

/** Returns when the chain may be trusted. @throws {RksError} SERVER_UNTRUSTED, SERVER_NAME_MISMATCH or CLIENT_CERTIFICATE_REFUSED. */
export type VerifyChain = (presented: PresentedChain) => void;

/**
 * A stand-in for a TLS stack's judgement that needs no ASN.1: the last certificate presented must be one of the roots,
 * and a server's leaf must contain the name's ASCII bytes somewhere. Signatures, dates and usages are not checked.
 */
export function presentsRoot({ usage, chain, roots, serverName }: PresentedChain): void {
  const last = chain.at(-1);
  if (last === undefined || !roots.some((root) => equalBytes(root, last))) {
    throw usage === "server"
      ? new RksError("SERVER_UNTRUSTED", "the server's certificate chain does not end in a trusted root")
      : new RksError(
          "CLIENT_CERTIFICATE_REFUSED",
          "the client's certificate chain does not end in a trusted root",
        );
  }
  if (serverName !== undefined && !contains(chain[0]!, utf8(serverName))) {
    throw new RksError("SERVER_NAME_MISMATCH", `the server's certificate is not for "${serverName}"`);
  }
}

function contains(bytes: Uint8Array, part: Uint8Array): boolean {
  for (let at = 0; at + part.length <= bytes.length; at++) {
    if (equalBytes(bytes.subarray(at, at + part.length), part)) return true;
  }
  return false;
}
