import { type Logger, RksError } from "@rk8s/protocol";
import type { AuditEvent, AuditLog } from "../audit/audit-log.js";
import { assertMay, type Authority, type Question } from "./authority.js";

export interface OperatorRequestPorts {
  readonly audit: AuditLog;
  readonly logger: Logger;
}

/**
 * Do what an operator asks when the policies allow it. A refusal and what was read are recorded here; whoever changes
 * something records that by `audited`, with the authority's actor. Reading issues nothing, so an audit log that cannot
 * be written keeps nobody from looking at what is wrong.
 * @throws {RksError} PERMISSION_DENIED, and whatever the work throws.
 */
export async function asOperator<T>(
  authority: Authority,
  question: Question,
  work: () => Promise<T> | T,
  ports: OperatorRequestPorts,
): Promise<T> {
  const { operation, path } = question;
  const event = { operation: `operator.${operation}`, actor: authority.actor, fields: { path } };
  try {
    await assertMay(authority, question);
  } catch (reason) {
    await note(event, "refused", reason, ports);
    throw reason;
  }
  if (operation !== "read" && operation !== "list") return work();
  try {
    const value = await work();
    await note(event, "done", undefined, ports);
    return value;
  } catch (reason) {
    await note(event, "failed", reason, ports);
    throw reason;
  }
}

async function note(
  event: AuditEvent,
  outcome: "done" | "refused" | "failed",
  reason: unknown,
  { audit, logger }: OperatorRequestPorts,
): Promise<void> {
  const { code, message } = reason === undefined ? {} : RksError.from(reason);
  const why = { ...(code === undefined ? {} : { code }), ...(message === undefined ? {} : { message }) };
  await audit.result(event, { outcome, ...why }).catch((cause: unknown) => {
    logger.warn("Operator's request is not in the audit log", { ...event, outcome, cause });
  });
}
