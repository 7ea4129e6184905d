import { createHash } from "node:crypto";

import { type Clock, type Logger, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";

import { AuditChain, type HeadStore } from "../../audit/audit-chain.js";
import type { ChainHead } from "../../audit/chain-link.js";
import { DurableLines, type Loss } from "../../audit/durable-lines.js";
import { LineBatches } from "../../audit/line-batches.js";
import { StoredHead } from "../../audit/stored-head.js";
import { AuditEntries } from "./audit-entries.js";
import { type DeviceOptions, parseDeviceOptions } from "./device-options.js";
import type { AuditDeviceEntry } from "./device-table.js";

/** How long a device may take for one write before it counts as one that cannot write. */
const DEVICE_DEADLINE_MS = 15_000;
/** How often the head of a file's chain is remembered at most: under load the store has better things to do. */
const HEAD_REST_MS = 250;
const HEADS = "core/audit-head/";
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
  /** The unsealed barrier. */
  readonly storage: Storage;
  /** Whose files these are, should others have the store as well; default: they never do. */
  readonly host?: string | undefined;
  /** Whether others may have the store now. Default: no. */
  readonly isShared?: (() => boolean) | undefined;
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
  /** Of files only. */
  readonly #chain: AuditChain | undefined;
  readonly #storedHead: StoredHead;

  /** @throws {RksError} INPUT_INVALID for types and options that are not known. */
  constructor(entry: AuditDeviceEntry, ports: DevicePorts) {
    this.entry = entry;
    this.options = parseDeviceOptions(entry.type, entry.options);
    const { isRaw, hashAccessors } = this.options;
    const salt = Buffer.from(entry.salt, "base64");
    this.entries = new AuditEntries({ salt, isRaw, hashAccessors, clock: ports.clock });
    // A device that is enabled anew at the same path has another salt, and a chain of its own.
    const nameOf = (host = ""): string => createHash("sha256").update(salt).update(host).digest("hex");
    this.#storedHead = new StoredHead(ports.storage, {
      prefix: HEADS,
      alone: nameOf(),
      ofHost: ports.host && nameOf(ports.host),
      isShared: ports.isShared,
    });
    const { filePath } = this.options;
    if (filePath !== undefined) {
      this.#chain = chainOf(this.#storedHead, ports);
      this.#lines = this.#openFile(filePath, this.#chain, ports);
    } else this.#lines = standardOutput(ports);
  }

  /** Of the last line that is on disk; undefined for what has no chain and for a file that could not be opened yet. */
  get head(): ChainHead | undefined {
    return this.#chain?.head;
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

  /** Resolves when it is remembered how far the file's chain is, or that cannot be. */
  async rememberHead(): Promise<void> {
    await this.#chain?.settled();
  }

  /** Remember nothing of it any more, once it is closed. */
  forgetHead(): Promise<void> {
    return this.#storedHead.forget();
  }

  /** Write what waits and close. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lines[Symbol.asyncDispose]();
  }

  #openFile(path: string, chain: AuditChain, { clock, logger }: DevicePorts): DurableLines {
    const deadline = { ms: DEVICE_DEADLINE_MS, clock };
    const onLoss = ({ head }: Loss): string => {
      if (head === undefined) return "";
      logger.error("Audit log is not what was written to it", { file: path, ...head });
      return this.entries.broken(head);
    };
    return new DurableLines(path, { accepts: isAuditLog, logger, deadline, chain, onLoss });
  }
}

/** What is written after the vault was sealed is found again in the file. */
function chainOf(stored: StoredHead, { clock, logger }: DevicePorts): AuditChain {
  const heads: HeadStore = {
    load: () => stored.load(),
    save: (head) =>
      stored.save(head).catch((reason: unknown) => {
        if (RksError.from(reason).code !== "VAULT_SEALED") throw reason;
      }),
  };
  return new AuditChain({ heads, logger, rest: { ms: HEAD_REST_MS, clock } });
}

function standardOutput({ clock, logger, stdout }: DevicePorts): LineBatches {
  const deadline = { ms: DEVICE_DEADLINE_MS, clock };
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
