import type { Identity } from "../identity/identity.js";
import { completePorts, type PortOptions } from "../ports.js";
import { prepareEnrolment, type EnrolmentOptions } from "./enrolment.js";
import { retry } from "./retry.js";
import { RksAddresses } from "./rks-addresses.js";

export interface RequestCertificateOptions extends EnrolmentOptions, PortOptions {
  /** How often to try each control plane in all when the failure is a passing one; default 4. Each try has a connection of its own. */
  readonly maxAttempts?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_MAX_ATTEMPTS = 4;

/**
 * Exchange a join token for a certificate: verify the control plane, prove possession of the token, send a
 * certification request, check the answer. Nothing is written anywhere; the connection is closed afterwards.
 *
 * When an answer is lost the same key asks again and gets the same bytes, so the token is not burnt. A key pair of
 * the caller's belongs to the identity on success and stays the caller's on failure; one made here is wiped then.
 * @throws {RksError} USAGE_INVALID, JOIN_TOKEN_MALFORMED, NODE_NAME_INVALID, CONFIG_INVALID, CSR_INVALID before
 * anything is sent; CA_PIN_MISMATCH, SERVER_UNTRUSTED, SERVER_NAME_MISMATCH when the server is not the token's;
 * JOIN_TOKEN_INVALID, JOIN_TOKEN_EXPIRED, JOIN_TOKEN_USED, JOIN_TOKEN_REVOKED, JOIN_TOKEN_SCOPE, NODE_NAME_TAKEN,
 * NODE_BANNED, KEY_TOO_WEAK … as the server answers; CERTIFICATE_INVALID when its answer does not hold;
 * UNREACHABLE, TIMED_OUT, CONNECTION_LOST and other retryable codes when every attempt failed.
 */
export async function requestCertificate(options: RequestCertificateOptions): Promise<Identity> {
  const { signal, maxAttempts = DEFAULT_MAX_ATTEMPTS } = options;
  signal?.throwIfAborted();
  const addresses = options.addresses ?? RksAddresses.parse(options.rksAddress);
  using enrolment = await prepareEnrolment({ ...options, addresses });
  const ports = await completePorts(options);
  return await retry(() => enrolment.enrol(ports, { signal }), { ...ports, addresses, maxAttempts, signal });
}
