import { randomUUID } from "node:crypto";
import type { Clock, Logger } from "@rk8s/protocol";
import type { AuditEvent, AuditLog, AuditOutcome } from "./audit-log.js";
import type { AuditStamp } from "./audit-stamp.js";
import { AuditChain, type HeadStore } from "./audit-chain.js";
import { CHAIN_START, type ChainHead } from "./chain-link.js";
import { DurableLines, type Loss } from "./durable-lines.js";

export interface FileAuditPorts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** What every record says besides, for example which state of the store it was written over. */
  readonly stamp?: () => AuditStamp;
  /** Makes record ids. Default: random UUIDs. */
  readonly newId?: () => string;
  /** Where the head of the chain of records is kept. */
  readonly heads: HeadStore;
}

/**
 * Open an audit log that appends JSON lines to a file (mode 0600), each on disk before it is answered for. One
 * write and one fsync serve every record that waits at that moment. What a failed write left behind is cut off
 * again, so that the file always consists of whole lines; each carries its number and the hash of the line before it
 * (ADR 23), also over the file's being moved away, and a restart.
 * @throws {RksError} AUDIT_UNWRITABLE when the file cannot be opened.
 */
export async function openFileAudit(path: string, ports: FileAuditPorts): Promise<FileAudit> {
  const audit = new FileAudit(path, ports);
  try {
    await audit.reopen();
  } catch (error) {
    await audit[Symbol.asyncDispose]();
    throw error;
  }
  return audit;
}

/** An audit log in a file. */
export class FileAudit implements AuditLog {
  /** Where it is. */
  readonly path: string;
  readonly #lines: DurableLines;
  readonly #chain: AuditChain;
  readonly #ports: FileAuditPorts;

  /** For `openFileAudit`. */
  constructor(path: string, ports: FileAuditPorts) {
    this.path = path;
    this.#ports = ports;
    this.#chain = new AuditChain(ports);
    const onLoss = (loss: Loss): string => this.#lossLines(loss);
    this.#lines = new DurableLines(path, { ...ports, chain: this.#chain, onLoss });
  }

  /** The last record that is on disk. */
  get head(): ChainHead {
    return this.#chain.head ?? CHAIN_START;
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
    return this.#lines.append(this.#line(record));
  }

  #newId(): string {
    return (this.#ports.newId ?? randomUUID)();
  }

  #line(record: object): string {
    const { clock, stamp } = this.#ports;
    const time = new Date(clock.now()).toISOString();
    return JSON.stringify({ time, ...record, ...stamp?.() }) + "\n";
  }

  /** The log itself says what it lost; more than half a line is lost to nobody but who has the file in hand. */
  #lossLines({ cutOffBytes, head }: Loss): string {
    const { logger } = this.#ports;
    const lost = { type: "result", actor: "rks", outcome: "done" };
    let lines = "";
    if (cutOffBytes > 0) {
      const fields = { bytes: cutOffBytes };
      lines += this.#line({ id: this.#newId(), ...lost, operation: "audit.cut-off", fields });
    }
    if (head !== undefined) {
      logger.error("Audit log is not what was written to it", { file: this.path, ...head });
      lines += this.#line({ id: this.#newId(), ...lost, operation: "audit.broken", fields: { ...head } });
    }
    return lines;
  }
}
