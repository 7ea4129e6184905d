import type { Clock, Logger } from "@rk8s/protocol";

import { DurableLines } from "../../audit/durable-lines.js";
import { LineBatches } from "../../audit/line-batches.js";
import { AuditEntries } from "./audit-entries.js";
import { type DeviceOptions, parseDeviceOptions } from "./device-options.js";
import type { AuditDeviceEntry } from "./device-table.js";

/** How long a device may take for one write before it counts as one that cannot write. */
const DEVICE_DEADLINE_MS = 15_000;
/** How files begin that are audit logs of a vault. What is no longer than a piece of that was left by a crash. */
const HEAD = /^\{"time":"[^"]{1,40}","type":"re(?:quest|sponse)",/;
const SHORTEST_HEAD = '{"time":"';

/** Where lines go besides files: the standard output of the process. */
export interface LineWriter {
  /** Write whole lines; resolves when they are out of this process's hands. Is never called twice at once. */
  write(lines: string): Promise<void>;
}

export interface DevicePorts {
  readonly clock: Pick<Clock, "now" | "sleep">;
  readonly logger: Logger;
  /** None: devices that write there cannot be written, and cannot be enabled. */
  readonly stdout?: LineWriter | undefined;
}

/** What is common to files and the standard output. */
interface Lines extends AsyncDisposable {
  append(line: string): Promise<void>;
}

/** A place that the lines of all requests are written to. A file that cannot be opened is tried again with every line. */
export class AuditDevice implements AsyncDisposable {
  readonly entry: AuditDeviceEntry;
  /** Makes the lines for `append`. */
  readonly entries: AuditEntries;
  readonly options: DeviceOptions;
  readonly #lines: Lines;

  /** @throws {RksError} INPUT_INVALID for types and options that are not known. */
  constructor(entry: AuditDeviceEntry, ports: DevicePorts) {
    this.entry = entry;
    this.options = parseDeviceOptions(entry.type, entry.options);
    const { isRaw, hashAccessors } = this.options;
    const salt = Buffer.from(entry.salt, "base64");
    this.entries = new AuditEntries({ salt, isRaw, hashAccessors, clock: ports.clock });
    this.#lines = openLines(this.options, ports);
  }

  /** Tells files apart whatever their paths; undefined for others and for files that are not open. */
  get identity(): string | undefined {
    return this.#lines instanceof DurableLines ? this.#lines.identity : undefined;
  }

  /** Write a line. @throws {RksError} AUDIT_UNWRITABLE or BUSY */
  append(line: string): Promise<void> {
    return this.#lines.append(line);
  }

  /** Open the file anew, if it is one. @throws {RksError} AUDIT_UNWRITABLE or BUSY */
  async reopen(): Promise<void> {
    if (this.#lines instanceof DurableLines) await this.#lines.reopen();
  }

  /** Write what waits and close. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lines[Symbol.asyncDispose]();
  }
}

function openLines({ filePath }: DeviceOptions, { clock, logger, stdout }: DevicePorts): Lines {
  const deadline = { ms: DEVICE_DEADLINE_MS, clock };
  if (filePath !== undefined) return new DurableLines(filePath, { accepts: isAuditLog, logger, deadline });
  const name = "the audit log on standard output";
  const write = stdout === undefined ? noOutput : (lines: string): Promise<void> => stdout.write(lines);
  return new LineBatches({ name, write, logger, deadline });
}

function noOutput(): Promise<never> {
  return Promise.reject(new Error("this process has no standard output for it"));
}

function isAuditLog(head: string): boolean {
  const isPiece = !head.includes("\n") && head.length < 64;
  return HEAD.test(head) || (isPiece && SHORTEST_HEAD.startsWith(head.slice(0, SHORTEST_HEAD.length)));
}
