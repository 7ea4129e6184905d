import { readCertificateAnswer } from "../bootstrap/certificate-answer.js";
import { assertRequestFor, createCertificateRequest } from "../identity/csr.js";
import type { Identity } from "../identity/identity.js";
import { KeyPair } from "../identity/key-pair.js";
import { signRenewProof } from "../identity/renew-proof.js";
import type { RksConnection } from "../session/connection.js";

export interface RenewCertificateOptions {
  /** Default: a new P-256 key pair. It must not be the identity's own. */
  readonly keyPair?: KeyPair | undefined;
  /** A certification request (DER) made with `keyPair`; default: one made here. */
  readonly csr?: Uint8Array | undefined;
  /** DER, the roots that the new certificate must chain to; default: those that came with the identity. */
  readonly roots?: readonly Uint8Array[] | undefined;
  /** SHA-256 of the SubjectPublicKeyInfo of intermediates that do not count; default: those that came with the identity. */
  readonly refusedIssuers?: readonly Uint8Array[] | undefined;
  /** Default: 10 s. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Ask for a node's next certificate, for a new key, on a connection on which the node has registered. The new identity
 * has the same name; connect with it, register, then close the old connection. The first use of the new certificate
 * revokes the old one.
 *
 * When the answer is lost, asking again with the same key pair and request gives the same certificate. A key pair of
 * the caller's belongs to the new identity on success and stays the caller's on failure; one made here is wiped then.
 * @throws {RksError} CSR_INVALID before anything is sent; what the control plane answers: CONFLICT when a newer
 * certificate of the node was used already, BUSY, PERMISSION_DENIED before registration, NODE_BANNED …;
 * CERTIFICATE_INVALID when its answer does not hold, CLOCK_SKEW; TIMED_OUT, CONNECTION_LOST.
 */
export async function renewCertificate(
  connection: RksConnection,
  identity: Identity,
  options: RenewCertificateOptions = {},
): Promise<Identity> {
  const { nodeName } = identity;
  const { signal, timeoutMs, roots = identity.trustBundle } = options;
  const { refusedIssuers = identity.refusedIssuers } = options;
  const keyPair = options.keyPair ?? KeyPair.create();
  try {
    const csr = options.csr ?? createCertificateRequest(keyPair, { commonName: nodeName });
    assertRequestFor(csr, keyPair);
    const proof = signRenewProof(keyPair, { welcome: connection.welcomeBody, csr });
    const { message, body } = await connection.ask({ type: "CertificateRenew", csr, proof }, "Certificate", {
      signal,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
    const exchange = { csr, answer: body };
    return readCertificateAnswer(message, {
      role: "node",
      keyPair,
      nodeName,
      roots,
      refusedIssuers,
      // Whether it is valid now is the control plane's to say: either clock may have been set since its greeting.
      nowMs: Date.parse(message.renewAfter),
      exchange,
    });
  } catch (error) {
    if (options.keyPair === undefined) keyPair[Symbol.dispose]();
    throw error;
  }
}
