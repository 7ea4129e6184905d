import { type Logger, RksError } from "@rk8s/protocol";
import type { AuditEvent, AuditLog } from "../audit/audit-log.js";
import type { ProofBudget } from "./proof-budget.js";

/** What was refused to somebody who has proven who it is. */
export interface Refusal {
  /** For the log: `join`. */
  readonly what: string;
  /** Whose refusals are counted together. */
  readonly budgetKey: string;
  readonly event: AuditEvent;
  /** For the log, if the audit log cannot take it. */
  readonly logged: Readonly<Record<string, string>>;
}

/**
 * Record a refusal, as often as it may be; what may be tried again and what is our own fault is none. Returns what the
 * peer is told.
 */
export async function recordRefusal(
  error: RksError,
  { what, budgetKey, event, logged }: Refusal,
  ports: { readonly budget: ProofBudget; readonly audit: AuditLog; readonly logger: Logger },
): Promise<RksError> {
  if (error.retryable || error.code === "INTERNAL") return error;
  try {
    ports.budget.chargeRefusal(budgetKey);
  } catch (busy) {
    return RksError.from(busy);
  }
  const { code, message } = error;
  try {
    await ports.audit.result(event, { outcome: "refused", code, message });
  } catch (cause) {
    ports.logger.error(`Refused ${what} could not be recorded`, { ...logged, code, cause });
  }
  return error;
}
