import { RksError } from "@rk8s/protocol";
import type { AuditEvent, AuditFields, AuditLog } from "./audit-log.js";

/** What `work` did, and the facts of it that belong into the audit log. */
export interface AuditedWork<T> {
  readonly value: T;
  readonly fields?: AuditFields;
}

/**
 * Do something that must not happen unrecorded: intent on disk → work → result on disk → value. When `work`
 * fails, its error is recorded and thrown; a failure to record *that* is left out, because nothing was issued.
 * @throws {RksError} AUDIT_UNWRITABLE before the work (nothing happened) or after it (it happened, and its
 * value is withheld).
 */
export async function audited<T>(
  audit: AuditLog,
  event: AuditEvent,
  work: () => Promise<AuditedWork<T>>,
): Promise<T> {
  const id = await audit.intent(event);
  let done: AuditedWork<T>;
  try {
    done = await work();
  } catch (reason) {
    const { code, message } = RksError.from(reason);
    await audit.result(event, { outcome: "failed", code, message }, id).catch(() => undefined);
    throw reason;
  }
  await audit.result(
    event,
    { outcome: "done", ...(done.fields === undefined ? {} : { fields: done.fields }) },
    id,
  );
  return done.value;
}
