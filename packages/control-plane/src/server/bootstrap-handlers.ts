import { LIMITS, type Message, RksError } from "@rk8s/protocol";
import { parseCertificate } from "@rk8s/x509";
import type { SignRequest } from "../join/join-plan.js";
import type { Exchange, Handler, Services } from "./exchange.js";

/** Say who is there and give a nonce to sign. Tells nothing of the cluster. */
export const answerHello: Handler<"Hello"> = async (
  { clock, random, promotion },
  { message, body, conversation, maxMessageBytes },
) => {
  const { session, greetings } = conversation;
  // The first use of a node's next certificate: on disk before anybody is welcome with it.
  await session?.admitOnce((certificate) => promotion.use(session.nodeName, certificate));
  return greetings.welcome(message, body, {
    nonce: random(LIMITS.nonceBytes),
    timeMs: clock.now(),
    monotonicMs: clock.monotonicMs(),
    maxMessageBytes,
  });
};

/** Exchange the proof of a join token for a certificate. */
export const answerCertificateSign: Handler<"CertificateSign"> = async (services, exchange) =>
  withOneProof(exchange, () =>
    services.enrolment.sign(signRequest(services, exchange, exchange.message), exchange),
  );

/** Say whether the proof of a join token would be exchanged for a certificate. */
export const answerCheckJoin: Handler<"CheckJoin"> = async (services, exchange) => {
  const message: Message<"CertificateSign"> = { ...exchange.message, type: "CertificateSign" };
  await withOneProof(exchange, () =>
    services.enrolment.check(signRequest(services, exchange, message), exchange),
  );
  return { type: "Ack" };
};

/** A bad proof is the last one of its connection: whoever guesses pays a handshake for each guess. */
async function withOneProof<T>(
  { conversation }: Pick<Exchange<"CertificateSign">, "conversation">,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (reason) {
    if (RksError.from(reason).code === "JOIN_TOKEN_INVALID") conversation.greetings.forfeit();
    throw reason;
  }
}

/** The request with what its proof covers of this connection. Spends the nonce. */
function signRequest(
  { clock }: Services,
  { conversation }: Pick<Exchange<"CertificateSign">, "conversation">,
  message: Message<"CertificateSign">,
): SignRequest {
  const { connection, greetings } = conversation;
  const [leaf] = connection?.localCertificates ?? [];
  if (connection === undefined || leaf === undefined) {
    throw new RksError("INTERNAL", "a bootstrapping connection has no server certificate");
  }
  const { hello, welcome } = greetings.spend(clock.monotonicMs());
  const { alpn, remoteAddress } = connection;
  const serverLeafSpki = parseCertificate(leaf).spki;
  return { message, hello, welcome, serverLeafSpki, alpn, remoteAddress };
}
