import { CLOSE_CODES, type CloseCode, type Connection, LIMITS, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { BootstrapRoom } from "./bootstrap-room.js";
import { operatorAuthority, type Policies } from "./authority.js";
import { closeAfter, closeAtExpiry } from "./close-timer.js";
import { endSignal } from "./close-connection.js";
import { ConnectionConversation } from "./connection-conversation.js";
import type { Services } from "./exchange.js";
import type { OperatorConnections } from "./operator-connections.js";
import { assertCurrent, identifyPeer, policiesOfOperator } from "./peer-identity.js";
import { refuseStream, serveStream } from "./serve-stream.js";

/** How long a connection that was refused stays, so that the peer can ask why. */
const REFUSED_LIFETIME_MS = 5_000;
const NO_CERTIFICATE = { code: "TIMED_OUT", message: "a connection without a certificate has 30 s" } as const;
/** Whoever does not get to a Welcome has nothing to say here, with or without a certificate. */
const NO_HELLO = { code: "TIMED_OUT", message: "no Hello came within 30 s" } as const;

export interface ConnectionPorts {
  readonly services: Services;
  readonly barrier: Storage;
  readonly policies: Pick<Policies, "acl">;
  readonly trustDomain: string;
  readonly bootstraps: BootstrapRoom;
  readonly operators: OperatorConnections;
}

/**
 * Serve a connection until it ends: find out who it is, then answer its streams. Without a proven identity it
 * has few streams at a time, small messages and a short life; with one it lives no longer than its certificate.
 * Never rejects.
 */
export async function serveConnection(connection: Connection, ports: ConnectionPorts): Promise<void> {
  const { services } = ports;
  const ended = endSignal(connection);
  const conversation = new ConnectionConversation(connection);
  let refusal: RksError | undefined;
  try {
    const now = services.clock.now();
    const identity = identifyPeer(connection, { trustDomain: ports.trustDomain, now });
    conversation.identify(identity, ended, services);
    track(connection, conversation, ended, ports);
    const [leaf] = connection.peerCertificates;
    if (leaf !== undefined && identity.kind !== "nobody") {
      const standing = await services.trust.assertIssuerCounts(leaf, identity.kind);
      // Who has a tainted issuer's key can write any certificate; only those on record count.
      const isProven = identity.kind === "node" && standing === "counts";
      if (isProven) await services.adoption.adopt(identity, leaf);
    }
    await assertCurrent(identity, ports.barrier);
    if (identity.kind === "operator") {
      const { tokenId: id } = identity;
      const policies = await policiesOfOperator(id, ports.barrier);
      conversation.authorize(operatorAuthority({ id, policies }, ports.policies));
    }
    if (conversation.session !== undefined) services.nodes.links.admit(conversation.session);
    if (identity.kind !== "nobody") {
      closeAtExpiry(connection, identity.notAfter, { clock: services.clock, ended });
      closeAfter(connection, LIMITS.bootstrapLifetimeMs, NO_HELLO, {
        clock: services.clock,
        ended,
        unless: () => conversation.isGreeted,
      });
    }
  } catch (reason) {
    refusal = RksError.from(reason);
    const { code, message } = refusal;
    services.meter.refused(code);
    services.logger.warn("Connection refused", {
      remoteHost: connection.remoteAddress.host,
      code,
      reason: message,
    });
    const { identity } = conversation;
    if (code === "CERTIFICATE_REVOKED" && identity.kind === "node") {
      const { name, serialNumber } = identity;
      const seen = { serialNumber, remoteHost: connection.remoteAddress.host };
      void services.nodes.refusals.alarm(name, seen);
    }
    ports.bootstraps.enter(connection, ended);
    const why = { code: closeCodeOf(refusal), message };
    closeAfter(connection, REFUSED_LIFETIME_MS, why, { clock: services.clock, ended });
  }
  await serveStreams(connection, conversation, { services, refusal, ended });
}

/** Before the store is asked, so that whoever evicts or revokes meanwhile finds the connection. */
function track(
  connection: Connection,
  { identity, session }: ConnectionConversation,
  ended: AbortSignal,
  ports: ConnectionPorts,
): void {
  if (identity.kind === "operator") ports.operators.add(identity.tokenId, connection, ended);
  else if (session !== undefined) ports.services.nodes.links.add(session);
  else {
    ports.bootstraps.enter(connection, ended);
    closeAfter(connection, LIMITS.bootstrapLifetimeMs, NO_CERTIFICATE, {
      clock: ports.services.clock,
      ended,
    });
  }
}

async function serveStreams(
  connection: Connection,
  conversation: ConnectionConversation,
  state: { readonly services: Services; readonly refusal: RksError | undefined; readonly ended: AbortSignal },
): Promise<void> {
  const { services, refusal, ended } = state;
  const isProven = conversation.identity.kind !== "nobody" && refusal === undefined;
  const maxMessageBytes = isProven ? LIMITS.maxMessageBytes : LIMITS.maxBootstrapMessageBytes;
  const maxStreams = isProven ? LIMITS.maxStreamsPerConnection : LIMITS.maxStreamsPerBootstrap;
  const options = { maxMessageBytes, signal: ended };
  const active = new Set<Promise<void>>();
  try {
    for await (const stream of connection.incomingStreams()) {
      if (active.size >= maxStreams) {
        stream.reset();
        continue;
      }
      const served =
        refusal === undefined
          ? serveStream(stream, conversation, services, options)
          : refuseStream(stream, refusal, services, options);
      const done = served.finally(() => active.delete(done));
      active.add(done);
    }
  } catch (cause) {
    services.logger.debug("Connection failed", { actor: conversation.actor, cause });
  }
  await Promise.all(active);
}

/** The close code that says the same as the error. */
function closeCodeOf({ code }: RksError): CloseCode {
  return Object.hasOwn(CLOSE_CODES, code) ? (code as CloseCode) : "CLIENT_CERTIFICATE_REFUSED";
}
