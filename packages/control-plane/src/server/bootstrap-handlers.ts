import { LIMITS, RksError } from "@rk8s/protocol";
import { parseCertificate } from "@rk8s/x509";
import type { Handler } from "./exchange.js";

/** Say who is there and give a nonce to sign. Tells nothing of the cluster. */
export const answerHello: Handler<"Hello"> = (
  { clock, random },
  { message, body, conversation, maxMessageBytes },
) =>
  conversation.greetings.welcome(message, body, {
    nonce: random(LIMITS.nonceBytes),
    timeMs: clock.now(),
    monotonicMs: clock.monotonicMs(),
    maxMessageBytes,
  });

/** Exchange the proof of a join token for a certificate. */
export const answerCertificateSign: Handler<"CertificateSign"> = async (
  { enrolment, clock },
  { message, conversation, signal },
) => {
  const { connection, greetings } = conversation;
  const [leaf] = connection?.localCertificates ?? [];
  if (connection === undefined || leaf === undefined) {
    throw new RksError("INTERNAL", "a bootstrapping connection has no server certificate");
  }
  const { hello, welcome } = greetings.spend(clock.monotonicMs());
  const { alpn, remoteAddress } = connection;
  const serverLeafSpki = parseCertificate(leaf).spki;
  return enrolment.sign({ message, hello, welcome, serverLeafSpki, alpn, remoteAddress }, { signal });
};
