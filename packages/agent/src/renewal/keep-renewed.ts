import { LinkedAbort, RksError } from "@rk8s/protocol";
import { backoffMs } from "../bootstrap/backoff.js";
import type { Identity } from "../identity/identity.js";
import type { IdentityHolder } from "../identity/identity-holder.js";
import type { AgentPorts } from "../ports.js";
import type { RksConnection } from "../session/connection.js";
import type { NodeLink } from "../session/node-link.js";
import { certificateExpired, endsNode } from "../session/refusal.js";
import type { Serving } from "../session/serving.js";
import { renewCertificate } from "./renew-certificate.js";
import type { RenewalDemand } from "./renewal-demand.js";
import { inTime, openInTime } from "./in-time.js";
import { renewalBackoff, stepTimeoutMs } from "./renewal-schedule.js";

/** What a renewal needs of the session in which it happens. */
export interface RenewalInit {
  readonly holder: IdentityHolder;
  readonly demand: RenewalDemand;
  /** Connect with the newest identity; the control plane has accepted it when this resolves. */
  readonly connect: (signal: AbortSignal) => Promise<RksConnection>;
  /** Register on such a connection. */
  readonly register: (connection: RksConnection, signal: AbortSignal) => Promise<NodeLink>;
  /** Called with each newer certificate, before it is used. */
  readonly onIssued: (identity: Identity) => void;
  /** Called when the node is served with a newer certificate. */
  readonly onRenewed: (link: NodeLink) => void;
}

/** Whatever is demanded, and whatever times a certificate has: renewals begin at least this far apart. */
const MIN_INTERVAL_MS = 1000;

/**
 * Renew a node's certificate whenever it is due or a renewal is demanded, and hand the node over to a connection with
 * the new one, make before break. A step that fails is tried again, from where the renewal stands: the same request
 * after a lost answer, the same certificate after a lost connection.
 * @throws {RksError} CERTIFICATE_EXPIRED when all that did not help in time, or what the control plane refused the node with for good;
 * the signal's reason when it is aborted.
 */
export async function keepRenewed(
  serving: Serving,
  init: RenewalInit,
  options: AgentPorts & { readonly signal: AbortSignal },
): Promise<never> {
  const { clock, random, signal } = options;
  const { holder, demand } = init;
  let earliestMs = -Infinity;
  for (;;) {
    if (serving.link.identity === holder.newest) await untilWanted(serving.link, demand, options);
    const tooEarlyMs = earliestMs - clock.monotonicMs();
    if (tooEarlyMs > 0) await clock.sleep(tooEarlyMs, { signal });
    for (let failures = 0; ; failures++) {
      try {
        await renewOnce(serving, init, options);
        break;
      } catch (reason) {
        signal.throwIfAborted();
        const error = await judge(reason, init);
        const { newest } = holder;
        const leftMs = newest.notAfter.getTime() - serving.link.connection.serverNowMs;
        warn(error, leftMs, newest, options);
        if (leftMs <= 0) throw certificateExpired(newest, error);
        const backoff = renewalBackoff(newest);
        // The last pauses are short ones, whatever failed before: they must not eat what is left.
        const longestMs = Math.max(backoff.floorMs, serving.link.leftMs / 4);
        await clock.sleep(Math.min(backoffMs(failures, random, backoff), longestMs), { signal });
      }
    }
    earliestMs = clock.monotonicMs() + MIN_INTERVAL_MS;
  }
}

/** Go through the steps that are left: ask for a certificate, connect with it, move the node over. */
async function renewOnce(
  serving: Serving,
  init: RenewalInit,
  { clock, logger, signal }: AgentPorts & { readonly signal: AbortSignal },
): Promise<void> {
  const { holder, demand } = init;
  const node = holder.current.nodeName;
  if (serving.link.identity === holder.newest) {
    const { identity, connection } = serving.link;
    logger.debug("Renewal begins", { node, serial: identity.serialNumber });
    const request = await holder.request();
    logger.debug("Certificate is asked for", { node });
    demand.served();
    const timeoutMs = stepTimeoutMs(serving.link.leftMs);
    const { roots, refusedIssuers } = holder.trust;
    const how = { ...request, roots, refusedIssuers, timeoutMs, signal };
    const next = await renewCertificate(connection, identity, how);
    logger.debug("Certificate was issued", { node, serial: next.serialNumber });
    await holder.issued(next);
    init.onIssued(next);
  }
  const connection = await openInTime(async (inner) => init.connect(inner), {
    leftMs: serving.link.leftMs,
    attempt: "the control plane did not take the new certificate",
    clock,
    signal,
  });
  logger.debug("Connected with the new certificate", { node });
  try {
    const register = async (): Promise<NodeLink> =>
      inTime(async (inner) => init.register(connection, inner), {
        leftMs: serving.link.leftMs,
        attempt: "the node did not register with the new certificate",
        clock,
        signal,
      });
    await serving.replace(register, { clock, patienceMs: stepTimeoutMs(serving.link.leftMs) });
  } catch (error) {
    await connection.close();
    throw error;
  }
  init.onRenewed(serving.link);
}

/**
 * What is to be done about a failed step: nothing but to try again after most; to begin anew where the answer itself
 * was a refusal.
 * @throws {RksError} what ends the node whatever its certificate.
 */
async function judge(reason: unknown, { holder }: RenewalInit): Promise<RksError> {
  const error = RksError.from(reason);
  if (endsNode(error)) throw error;
  if (!error.retryable && holder.next === undefined) await holder.abandon();
  return error;
}

/** Resolves when the certificate is due for renewal or a renewal is demanded. */
async function untilWanted(
  link: NodeLink,
  demand: RenewalDemand,
  { clock, signal, logger }: AgentPorts & { readonly signal: AbortSignal },
): Promise<void> {
  if (link.renewsInMs === 0) return;
  const settled = new LinkedAbort(signal);
  const { signal: inner } = settled;
  const due = clock.sleep(link.renewsInMs, { signal: inner });
  const demanded = demand.next({ signal: inner });
  // The loser of the race is ended; nobody waits for it any more.
  for (const loser of [due, demanded]) loser.catch(() => undefined);
  try {
    const reason = await Promise.race([due, demanded]);
    if (reason === undefined) return;
    logger.info("Certificate is renewed before its time", { node: link.identity.nodeName, reason });
  } finally {
    settled.abort();
  }
}

function warn(error: RksError, leftMs: number, identity: Identity, { logger }: AgentPorts): void {
  logger.warn("Certificate could not be renewed yet", {
    node: identity.nodeName,
    serial: identity.serialNumber,
    notAfter: identity.notAfter.toISOString(),
    leftSeconds: Math.round(leftMs / 1000),
    code: error.code,
    reason: error.message,
  });
}
