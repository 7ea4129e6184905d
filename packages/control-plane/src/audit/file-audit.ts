import { randomUUID } from "node:crypto";
import type { Clock, Logger } from "@rk8s/protocol";
import type { AuditEvent, AuditLog, AuditOutcome } from "./audit-log.js";
import type { AuditStamp } from "./audit-stamp.js";
import { DurableLines } from "./durable-lines.js";

export interface FileAuditPorts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** What every record says besides, for example which state of the store it was written over. */
  readonly stamp?: () => AuditStamp;
  /** Makes record ids. Default: random UUIDs. */
  readonly newId?: () => string;
}

/**
 * Open an audit log that appends JSON lines to a file (mode 0600), each on disk before it is answered for. One
 * write and one fsync serve every record that waits at that moment. What a failed write left behind is cut off
 * again, so that the file always consists of whole lines.
 * @throws {RksError} AUDIT_UNWRITABLE when the file cannot be opened.
 */
export async function openFileAudit(path: string, ports: FileAuditPorts): Promise<FileAudit> {
  const lines = new DurableLines(path, ports);
  try {
    await lines.reopen();
  } catch (error) {
    await lines[Symbol.asyncDispose]();
    throw error;
  }
  return new FileAudit(lines, ports);
}

/** An audit log in a file. */
export class FileAudit implements AuditLog {
  readonly #lines: DurableLines;
  readonly #clock: Clock;
  readonly #newId: () => string;
  readonly #stamp: () => AuditStamp;

  /** For `openFileAudit`. */
  constructor(lines: DurableLines, ports: FileAuditPorts) {
    this.#lines = lines;
    this.#clock = ports.clock;
    this.#newId = ports.newId ?? randomUUID;
    this.#stamp = ports.stamp ?? (() => ({}));
  }

  async intent(event: AuditEvent): Promise<string> {
    const id = this.#newId();
    await this.#append({ type: "intent", id, ...event });
    return id;
  }

  async result(event: AuditEvent, outcome: AuditOutcome, intentId?: string): Promise<void> {
    const { fields, ...rest } = outcome;
    await this.#append({
      type: "result",
      id: intentId ?? this.#newId(),
      ...event,
      ...rest,
      fields: { ...event.fields, ...fields },
    });
  }

  /**
   * Open the file at the path anew, after it was moved away.
   * @throws {RksError} AUDIT_UNWRITABLE when that is not possible; it is tried again with the next record.
   */
  reopen(): Promise<void> {
    return this.#lines.reopen();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#lines[Symbol.asyncDispose]();
  }

  #append(record: object): Promise<void> {
    const time = new Date(this.#clock.now()).toISOString();
    return this.#lines.append(JSON.stringify({ time, ...record, ...this.#stamp() }) + "\n");
  }
}
