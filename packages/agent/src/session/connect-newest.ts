import { RksError } from "@rk8s/protocol";
import type { IdentityHolder } from "../identity/identity-holder.js";
import type { AgentPorts } from "../ports.js";
import { explainUntrusted } from "./ca-untrusted.js";
import { connect } from "./connect.js";
import type { RksConnection } from "./connection.js";
import { isAboutCertificate } from "./refusal.js";

export interface ConnectNewestOptions extends AgentPorts {
  /** `host:port` of the control plane. */
  readonly rksAddress: string;
  readonly signal: AbortSignal;
}

/**
 * Connect with the newest identity that the holder has. When the control plane accepts the next certificate it is the
 * current one from then on; when it refuses it, which it does after it was put back to an earlier state, the next
 * certificate is given up and the current one is as good as before.
 * @throws {RksError} as `connect`; CA_UNTRUSTED as `explainUntrusted`; CONFLICT when the next certificate was given up: try again.
 */
export async function connectNewest(
  holder: IdentityHolder,
  options: ConnectNewestOptions,
): Promise<RksConnection> {
  const { next, newest: identity } = holder;
  let connection: RksConnection;
  try {
    connection = await connect({ ...options, identity, roots: holder.trust.roots });
  } catch (reason) {
    const { rksAddress } = options;
    const node = { nodeName: identity.nodeName, rksAddress, trust: holder.trust };
    const error = await explainUntrusted(RksError.from(reason), node, options);
    if (next === undefined || !isAboutCertificate(error)) throw error;
    await holder.abandon();
    throw new RksError("CONFLICT", `the renewed certificate was refused: ${error.message}`, { cause: error });
  }
  await holder.promote();
  return connection;
}
