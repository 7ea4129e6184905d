import { withDeadline, type JoinToken } from "@rk8s/protocol";
import { RksAddresses } from "../bootstrap/rks-addresses.js";
import { requestCertificate } from "../bootstrap/request-certificate.js";
import { retry } from "../bootstrap/retry.js";
import type { TrustOptions } from "../identity/trust.js";
import { completePorts, type PortOptions } from "../ports.js";
import { connect } from "./connect.js";
import type { RksConnection } from "./connection.js";

export interface ConnectOperatorOptions extends TrustOptions, PortOptions {
  /** `host:port` of the control plane; of several, separated by commas. */
  readonly rksAddress: string;
  /** A token of role `operator` (`rks gen join-token --role operator`). */
  readonly joinToken: string | JoinToken;
  /** For everything up to the accepted connection; default 10 s. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a person at a terminal waits for. */
const DEFAULT_TIMEOUT_MS = 10_000;
/** Tries of each control plane within the deadline: enough for a restart. */
const MAX_ATTEMPTS = 5;

/**
 * Connect as an operator: make a key in memory, exchange the token for a certificate of a few minutes, connect with it.
 * The key is wiped as soon as the connection stands. Send `ApplyPod`, `ListPods`, `GetPodLogs` … over the connection; a list
 * that names a `next` goes on: ask again with it as `after`.
 * @throws {RksError} as `requestCertificate` and `connect`; TIMED_OUT after `timeoutMs`.
 */
export async function connectOperator(options: ConnectOperatorOptions): Promise<RksConnection> {
  const ports = await completePorts(options);
  const addresses = RksAddresses.parse(options.rksAddress);
  return withDeadline(
    async (signal) => {
      const init = { ...options, ...ports, addresses, signal, maxAttempts: MAX_ATTEMPTS };
      using identity = await requestCertificate({ ...init, role: "operator" });
      return await retry(() => connect({ ...init, identity }), init);
    },
    {
      clock: ports.clock,
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      attempt: `the control plane at "${options.rksAddress}" did not answer`,
      suggestion: "Check the address and that `rks start` runs there.",
      signal: options.signal,
    },
  );
}
