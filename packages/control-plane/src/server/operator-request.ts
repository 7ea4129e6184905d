import { type Logger, RksError } from "@rk8s/protocol";
import type { AuditEvent, AuditLog } from "../audit/audit-log.js";
import { assertMay, type Authority, type Question } from "./authority.js";

export interface OperatorRequestPorts {
  readonly audit: AuditLog;
  readonly logger: Logger;
}

/**
 * Do what an operator asks when the policies allow it. A refusal, also by the work itself, and what was read are
 * recorded here; whoever changes something records that by `audited`, with the authority's actor. Reading issues
 * nothing, so an audit log that cannot be written keeps nobody from looking at what is wrong.
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
  const isReading = operation === "read" || operation === "list";
  let value: T;
  try {
    await assertMay(authority, question);
    value = await work();
  } catch (reason) {
    const isRefused = RksError.from(reason).code === "PERMISSION_DENIED";
    if (isRefused || isReading) await note(event, isRefused ? "refused" : "failed", reason, ports);
    throw reason;
  }
  if (isReading) await note(event, "done", undefined, ports);
  return value;
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
