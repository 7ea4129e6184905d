import { type Clock, type Logger, RksError, withDeadline } from "@rk8s/protocol";
import type { JoinCheck, JoinCheckRequest } from "./join-check.js";

const JOIN_CHECK_TIMEOUT_MS = 5_000;

/**
 * Let every check look at the request, one after the other.
 * @throws {RksError} what the first one that refuses throws, with its name; TIMED_OUT for one that does not answer,
 * UNAVAILABLE for one that fails.
 */
export async function runJoinChecks(
  checks: readonly JoinCheck[],
  request: JoinCheckRequest,
  ports: { readonly clock: Clock; readonly logger: Logger; readonly signal: AbortSignal },
): Promise<void> {
  for (const check of checks) {
    try {
      await withDeadline(async (signal) => check.check(request, { signal }), {
        ...ports,
        timeoutMs: JOIN_CHECK_TIMEOUT_MS,
        attempt: "it did not answer",
      });
    } catch (reason) {
      throw refusedBy(check, reason, ports.logger);
    }
  }
}

/** The refusal, with the name of the check: the operator has to know whom to ask. */
function refusedBy({ name }: JoinCheck, reason: unknown, logger: Logger): RksError {
  if (reason instanceof RksError) {
    const { code, message, suggestion, cause } = reason;
    return new RksError(code, `join check "${name}": ${message}`, { suggestion, cause });
  }
  logger.error("Join check failed", { check: name, cause: reason });
  return new RksError("UNAVAILABLE", `join check "${name}" failed`, {
    cause: reason,
    suggestion: "Ask the operator of the cluster; the log of the control plane says why.",
  });
}
