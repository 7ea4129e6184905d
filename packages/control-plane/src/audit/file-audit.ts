import { randomUUID } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { type Clock, type Logger, RksError } from "@rk8s/protocol";
import type { AuditEvent, AuditLog, AuditOutcome } from "./audit-log.js";
import type { AuditStamp } from "./audit-stamp.js";

/** Records that may wait for the disk; a disk that is this far behind does not get better by waiting. */
const MAX_WAITING = 4096;
const NEWLINE = 0x0a;

export interface FileAuditPorts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** What every record says besides, for example which state of the store it was written over. */
  readonly stamp?: () => AuditStamp;
  /** Makes record ids. Default: random UUIDs. */
  readonly newId?: () => string;
}

interface Waiting {
  readonly line: string;
  readonly resolve: () => void;
  readonly reject: (error: RksError) => void;
}

/**
 * Open an audit log that appends JSON lines to a file (mode 0600), each on disk before it is answered for. One
 * write and one fsync serve every record that waits at that moment. What a failed write left behind is cut off
 * again, so that the file always consists of whole lines.
 * @throws {RksError} AUDIT_UNWRITABLE when the file cannot be opened.
 */
export async function openFileAudit(path: string, ports: FileAuditPorts): Promise<AuditLog> {
  const audit = new FileAudit(path, ports);
  await audit.open();
  return audit;
}

class FileAudit implements AuditLog {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #newId: () => string;
  readonly #stamp: () => AuditStamp;
  #file: FileHandle | undefined;
  /** Length of the file up to the last line known to be whole. */
  #length = 0;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #closed = false;

  constructor(path: string, ports: FileAuditPorts) {
    this.#path = path;
    this.#clock = ports.clock;
    this.#logger = ports.logger;
    this.#newId = ports.newId ?? randomUUID;
    this.#stamp = ports.stamp ?? (() => ({}));
  }

  async open(): Promise<void> {
    try {
      await this.#reopen();
    } catch (cause) {
      throw unwritable(this.#path, cause);
    }
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

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#writing;
    await this.#file?.close().catch(() => undefined);
    this.#file = undefined;
  }

  #append(record: object): Promise<void> {
    if (this.#closed) return Promise.reject(unwritable(this.#path, new Error("the audit log is closed")));
    if (this.#waiting.length >= MAX_WAITING) {
      return Promise.reject(
        new RksError("BUSY", `${MAX_WAITING} audit records wait for the disk`, { suggestion: "Try again." }),
      );
    }
    const time = new Date(this.#clock.now()).toISOString();
    const line = JSON.stringify({ time, ...record, ...this.#stamp() }) + "\n";
    return new Promise((resolve, reject) => {
      this.#waiting.push({ line, resolve, reject });
      this.#writing ??= this.#writeAll();
    });
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#write(Buffer.from(batch.map(({ line }) => line).join("")));
        for (const { resolve } of batch) resolve();
      } catch (cause) {
        this.#logger.error("Audit log cannot be written", { path: this.#path, cause });
        const error = unwritable(this.#path, cause);
        for (const { reject } of batch) reject(error);
      }
    }
    this.#writing = undefined;
  }

  /** After a failure the handle is given up: what a failed fsync left in the page cache cannot be trusted. */
  async #write(bytes: Uint8Array): Promise<void> {
    const file = this.#file ?? (await this.#reopen());
    try {
      await writeFully(file, bytes);
      await file.datasync();
      this.#length += bytes.length;
    } catch (error) {
      this.#file = undefined;
      await file.truncate(this.#length).catch(() => undefined);
      await file.close().catch(() => undefined);
      throw error;
    }
  }

  async #reopen(): Promise<FileHandle> {
    const file = await open(this.#path, "a+", 0o600);
    try {
      await file.chmod(0o600);
      this.#length = await wholeLines(file);
      await file.truncate(this.#length);
      await file.sync();
      await syncFolder(dirname(this.#path));
    } catch (error) {
      await file.close();
      throw error;
    }
    this.#file = file;
    return file;
  }
}

/** A new file is only safe once its name is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Length up to the last newline: a process that was killed inside a write leaves part of a line. */
async function wholeLines(file: FileHandle): Promise<number> {
  const block = Buffer.alloc(65_536);
  let end = (await file.stat()).size;
  while (end > 0) {
    const start = Math.max(0, end - block.length);
    const { bytesRead } = await file.read(block, 0, end - start, start);
    const at = block.subarray(0, bytesRead).lastIndexOf(NEWLINE);
    if (at >= 0) return start + at + 1;
    end = start;
  }
  return 0;
}

async function writeFully(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, at);
    at += bytesWritten;
  }
}

function unwritable(path: string, cause: unknown): RksError {
  return new RksError("AUDIT_UNWRITABLE", `the audit log "${path}" cannot be written`, {
    cause,
    suggestion: "Free disk space or repair the permissions of the audit log; nothing is issued until then.",
  });
}
