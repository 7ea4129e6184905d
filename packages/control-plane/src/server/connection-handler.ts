import { CLOSE_CODES, type CloseCode, type Clock, type Connection, LIMITS, RksError } from "@rk8s/protocol";
import type { Storage } from "../storage/storage.js";
import type { BootstrapRoom } from "./bootstrap-room.js";
import { closeConnection, endSignal } from "./close-connection.js";
import { ConnectionConversation } from "./connection-conversation.js";
import type { Services } from "./exchange.js";
import type { OperatorConnections } from "./operator-connections.js";
import { assertCurrent, identifyPeer } from "./peer-identity.js";
import { refuseStream, serveStream } from "./serve-stream.js";

/** Longest single sleep towards a certificate's end: the wall clock may jump meanwhile. */
const MAX_EXPIRY_SLEEP_MS = 60_000;
/** How long a connection that was refused stays, so that the peer can ask why. */
const REFUSED_LIFETIME_MS = 5_000;

export interface ConnectionPorts {
  readonly services: Services;
  readonly barrier: Storage;
  readonly trustDomain: string;
  readonly bootstraps: BootstrapRoom;
  readonly operators: OperatorConnections;
}

/**
 * Serve a connection until it ends: find out who it is, then answer its streams. Without a proven identity it has few streams at a time,
 * small messages and a short life; with one it lives no longer than its certificate. Never rejects.
 */
export async function serveConnection(connection: Connection, ports: ConnectionPorts): Promise<void> {
  const { services } = ports;
  const ended = endSignal(connection);
  const conversation = new ConnectionConversation(connection);
  let refusal: RksError | undefined;
  try {
    const now = services.clock.now();
    const identity = identifyPeer(connection, { trustDomain: ports.trustDomain, now });
    conversation.identify(identity, ended);
    track(connection, conversation, ended, ports);
    await assertCurrent(identity, ports.barrier);
    if (identity.kind !== "nobody") closeAtExpiry(connection, identity.notAfter, services.clock, ended);
  } catch (reason) {
    refusal = RksError.from(reason);
    const { code, message } = refusal;
    services.logger.warn("Connection refused", {
      remoteHost: connection.remoteAddress.host,
      code,
      reason: message,
    });
    ports.bootstraps.enter(connection, ended);
    closeAfter(connection, REFUSED_LIFETIME_MS, closeCodeOf(refusal), message, services.clock, ended);
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
    const why = "a connection without a certificate has 30 s";
    closeAfter(connection, LIMITS.bootstrapLifetimeMs, "TIMED_OUT", why, ports.services.clock, ended);
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

function closeAfter(
  connection: Connection,
  ms: number,
  code: CloseCode,
  message: string,
  clock: Clock,
  ended: AbortSignal,
): void {
  clock.sleep(ms, { signal: ended }).then(
    () => closeConnection(connection, code, message),
    () => undefined,
  );
}

function closeAtExpiry(connection: Connection, notAfter: number, clock: Clock, ended: AbortSignal): void {
  const wait = async (): Promise<void> => {
    for (let left = notAfter - clock.now(); left > 0; left = notAfter - clock.now()) {
      await clock.sleep(Math.min(left, MAX_EXPIRY_SLEEP_MS), { signal: ended });
    }
    closeConnection(
      connection,
      "CERTIFICATE_EXPIRED",
      `the certificate expired at ${new Date(notAfter).toISOString()}`,
    );
  };
  wait().catch(() => undefined);
}

/** The close code that says the same as the error. */
function closeCodeOf({ code }: RksError): CloseCode {
  return Object.hasOwn(CLOSE_CODES, code) ? (code as CloseCode) : "CLIENT_CERTIFICATE_REFUSED";
}
