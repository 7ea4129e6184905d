import { RksError } from "@rk8s/protocol";
import type { AuditEvent, AuditLog, AuditOutcome } from "../../audit/audit-log.js";

/** A line of the audit log as a test sees it. */
export interface AuditLine extends AuditEvent, Partial<AuditOutcome> {
  readonly type: "intent" | "result";
}

/** An audit log in memory that can be told to fail. */
export class MemoryAudit implements AuditLog {
  readonly lines: AuditLine[] = [];
  /** Which records cannot be written at the moment. */
  broken: "nothing" | "intents" | "results" = "nothing";

  async intent(event: AuditEvent): Promise<string> {
    await Promise.resolve();
    if (this.broken === "intents") throw unwritable();
    return String(this.lines.push({ type: "intent", ...event }));
  }

  async result(event: AuditEvent, outcome: AuditOutcome): Promise<void> {
    await Promise.resolve();
    if (this.broken === "results") throw unwritable();
    this.lines.push({ type: "result", ...event, ...outcome, fields: { ...event.fields, ...outcome.fields } });
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

function unwritable(): RksError {
  return new RksError("AUDIT_UNWRITABLE", "the test broke the audit log");
}
