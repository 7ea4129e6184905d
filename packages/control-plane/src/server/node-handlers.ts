import { RksError } from "@rk8s/protocol";
import type { Conversation, Handler } from "./exchange.js";
import type { NodeSession } from "./node-session.js";

/** A node says what it is; what it should and should not run follows once the answer is out. */
export const answerRegisterNode: Handler<"RegisterNode"> = async (services, exchange) => {
  const { message, conversation } = exchange;
  const { nodes, pods, logger, clock } = services;
  const session = sessionOf(conversation);
  if (message.nodeName !== session.nodeName) {
    throw new RksError(
      "PERMISSION_DENIED",
      `node "${session.nodeName}" cannot register as "${message.nodeName}"`,
      { suggestion: `Register as "${session.nodeName}", the name in the certificate.` },
    );
  }
  session.chargeChange();
  // A connection that was opened before a newer certificate came into use must not take the node back.
  const certificateGeneration = await services.promotion.use(session.nodeName, session.certificate);
  await nodes.claim(session, message);
  const { nodeName, certificate } = session;
  await services.recoveryEnrolment.registered({
    nodeName,
    serialNumber: certificate.serialNumber,
    machineIdSha256: message.machineIdSha256,
  });
  nodes.register(session, message);
  conversation.registered();
  logger.info("Node registered", {
    nodeName,
    version: message.version,
    remoteHost: session.remoteAddress.host,
  });
  exchange.afterAnswer(() => {
    void services.trust.registered(session, message.trustGeneration);
    pods.registered(session, message.pods).catch((reason: unknown) => {
      const { code } = RksError.from(reason);
      logger.error("Pods of a node could not be compared", { nodeName, code, cause: reason });
      // Registering again is the way to try again.
      session.close("UNAVAILABLE", "the control plane could not compare the node's pods");
    });
  });
  return {
    type: "Registered",
    heartbeatIntervalSeconds: services.heartbeatIntervalSeconds,
    heartbeatGraceSeconds: services.heartbeatGraceSeconds,
    serverTime: new Date(clock.now()).toISOString(),
    certificateGeneration,
  };
};

/** A node's next certificate, for a new key. */
export const answerCertificateRenew: Handler<"CertificateRenew"> = async (
  { renewal },
  { message, conversation },
) => {
  const session = sessionOf(conversation);
  const welcome = conversation.greetings.welcomeBody;
  if (welcome === undefined) throw new RksError("INTERNAL", "a node's session has no Welcome");
  session.chargeRenewal();
  const { nodeName, certificate } = session;
  return renewal.renew({ message, welcome, nodeName, certificate });
};

/** A node is alive. */
export const answerHeartbeat: Handler<"Heartbeat"> = ({ nodes }, { message, conversation }) => {
  nodes.heartbeat(sessionOf(conversation), message.status);
  return { type: "Ack" };
};

/** A node says how one of its pods is. */
export const answerUpdatePodStatus: Handler<"UpdatePodStatus"> = async (
  { pods },
  { message, conversation },
) => {
  const session = sessionOf(conversation);
  session.chargeChange();
  await pods.reported(session, message);
  return { type: "Ack" };
};

/** A node's agent ends on purpose. */
export const answerNodeStopping: Handler<"NodeStopping"> = ({ nodes, logger }, { message, conversation }) => {
  const session = sessionOf(conversation);
  logger.info("Node stops", { nodeName: session.nodeName, reason: message.reason });
  nodes.stopping(session);
  return { type: "Ack" };
};

function sessionOf({ session }: Conversation): NodeSession {
  if (session === undefined) throw new RksError("INTERNAL", "a node's message came without a node");
  return session;
}
