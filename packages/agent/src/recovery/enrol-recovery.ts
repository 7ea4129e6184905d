import { ALPN, enrolRecoveryTranscript, RksError, type Logger } from "@rk8s/protocol";
import type { RksConnection } from "../session/connection.js";
import type { RecoveryKind, RecoveryMethod } from "./recovery-method.js";

/**
 * Tell the control plane by which key of this machine the node will come back: the first method that works here and
 * that it takes. Returns its kind, undefined when there is none; that is logged, and costs the node nothing now.
 * @throws {RksError} what passes: CONNECTION_LOST, TIMED_OUT, BUSY …
 */
export async function enrolRecovery(
  connection: RksConnection,
  init: { readonly nodeName: string; readonly methods: readonly RecoveryMethod[] },
  options: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<RecoveryKind | undefined> {
  const { nodeName, methods } = init;
  const { logger, signal } = options;
  for (const method of methods) {
    const { kind } = method;
    try {
      const publicKey = await method.publicKey({ signal });
      const { helloBody: hello, welcomeBody: welcome } = connection;
      const serverLeafSpki = connection.serverCertificate.spki;
      const fields = { alpn: ALPN, hello, welcome, serverLeafSpki, nodeName, kind, publicKey };
      const proof = await method.prove(enrolRecoveryTranscript(fields), { signal });
      await connection.request({ type: "EnrolRecovery", kind, publicKey, proof }, "Ack", { signal });
      return kind;
    } catch (reason) {
      const error = RksError.from(reason);
      if (signal.aborted || error.retryable) throw error;
      logger.info("Way back after a reboot is not open", { kind, code: error.code, reason: error.message });
    }
  }
  return undefined;
}
