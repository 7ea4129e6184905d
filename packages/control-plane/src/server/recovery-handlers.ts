import { RksError } from "@rk8s/protocol";
import { parseCertificate } from "@rk8s/x509";
import type { Conversation, Handler } from "./exchange.js";

/** Exchange the proof of a machine, or a grant, for a new certificate of a node that has lost its key. */
export const answerCertificateRecover: Handler<"CertificateRecover"> = async (
  { recovery, clock },
  { message, conversation },
) => {
  const { connection, serverLeafSpki } = servedConnection(conversation);
  const { hello, welcome } = conversation.greetings.spend(clock.monotonicMs());
  const { alpn, remoteAddress } = connection;
  try {
    return await recovery.recover({ message, hello, welcome, serverLeafSpki, alpn, remoteAddress });
  } catch (reason) {
    // Whoever guesses pays a handshake for each guess.
    if (RksError.from(reason).code === "RECOVERY_REFUSED") conversation.greetings.forfeit();
    throw reason;
  }
};

/** Keep the key by which a node will come back. It enrols for itself: the name is the certificate's. */
export const answerEnrolRecovery: Handler<"EnrolRecovery"> = async (
  { recoveryEnrolment },
  { message, conversation },
) => {
  const { connection, serverLeafSpki } = servedConnection(conversation);
  const { session, greetings } = conversation;
  const { helloBody: hello, welcomeBody: welcome } = greetings;
  if (session === undefined || hello === undefined || welcome === undefined) {
    throw new RksError("INTERNAL", "a node's message came without a node");
  }
  session.chargeChange();
  const { nodeName } = session;
  await recoveryEnrolment.enrol({ nodeName, message, hello, welcome, serverLeafSpki, alpn: connection.alpn });
  return { type: "Ack" };
};

/** The connection with the key of the certificate that it was given. */
function servedConnection({ connection }: Conversation): {
  readonly connection: NonNullable<Conversation["connection"]>;
  readonly serverLeafSpki: Uint8Array;
} {
  const [leaf] = connection?.localCertificates ?? [];
  if (connection === undefined || leaf === undefined) {
    throw new RksError("INTERNAL", "a connection has no server certificate");
  }
  return { connection, serverLeafSpki: parseCertificate(leaf).spki };
}
