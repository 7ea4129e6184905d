import { RksError } from "@rk8s/protocol";
import { formatAddress } from "../bootstrap/address.js";
import type { RksAddresses } from "../bootstrap/rks-addresses.js";
import type { IdentityHolder } from "../identity/identity-holder.js";
import type { ServerClock } from "../clock-watch/server-clock.js";
import type { AgentPorts } from "../ports.js";
import { explainUntrusted } from "./ca-untrusted.js";
import { connect } from "./connect.js";
import type { RksConnection } from "./connection.js";
import { isAboutCertificate } from "./refusal.js";

export interface ConnectNewestOptions extends AgentPorts {
  readonly addresses: RksAddresses;
  /** Decides whether a certificate has expired; hears what the control plane says. */
  readonly serverClock: ServerClock;
  readonly signal: AbortSignal;
}

/**
 * A server that has said nothing to the second repetition of a client's first packet, after three seconds, is not there.
 * A new attempt then finds one that has come back sooner than the third repetition, four seconds later, would.
 */
const ANSWER_TIMEOUT_MS = 3500;
/** The same after the first repetition, while another one may be ready: a host that is lost must not cost that one's five seconds. */
const ANSWER_TIMEOUT_OF_SEVERAL_MS = 1500;

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
  const rksAddress = formatAddress(options.addresses.current);
  let connection: RksConnection;
  try {
    const { nowMs: serverNowMs } = options.serverClock;
    const { roots, refusedIssuers } = holder.trust;
    const trusted = { identity, roots, refusedIssuers };
    const answerTimeoutMs = options.addresses.isSeveral ? ANSWER_TIMEOUT_OF_SEVERAL_MS : ANSWER_TIMEOUT_MS;
    const waits = { serverNowMs, answerTimeoutMs };
    connection = await connect({ ...options, ...trusted, ...waits, rksAddress });
    options.serverClock.heard(connection.serverTime.getTime());
  } catch (reason) {
    const node = { nodeName: identity.nodeName, rksAddress, trust: holder.trust };
    const error = await explainUntrusted(RksError.from(reason), node, options);
    if (next === undefined || !isAboutCertificate(error)) throw error;
    await holder.abandon();
    throw new RksError("CONFLICT", `the renewed certificate was refused: ${error.message}`, { cause: error });
  }
  await holder.promote();
  return connection;
}
