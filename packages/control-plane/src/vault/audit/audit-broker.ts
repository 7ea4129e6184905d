import { randomBytes } from "node:crypto";
import { stat } from "node:fs/promises";

import { type Logger, RksError, settledWithin } from "@rk8s/protocol";

import type { ChainHead } from "../../audit/chain-link.js";
import type { JsonObject } from "../backend.js";
import type { Changes } from "../members/changes.js";
import { Serial } from "../serial.js";
import { AuditDevice, type DevicePorts } from "./audit-device.js";
import type { DeviceOptions } from "./device-options.js";
import {
  type AuditDeviceEntry,
  DEVICES_KEY,
  readDeviceTable,
  type StoredDevices,
  writeDeviceTable,
} from "./device-table.js";
import type { AuditedRequest, AuditedResponse, RequestAudit } from "./request-audit.js";

const SALT_BYTES = 32;
const DEVICE_PATH = /^(?:[A-Za-z0-9][\w.-]*\/){1,4}$/;
const MAX_DEVICE_PATH_CHARACTERS = 128;
/** How long a vault that is being sealed waits for the store. */
const HEADS_PATIENCE_MS = 1000;

export type AuditBrokerInit = DevicePorts;

/** How far the chain of a device's file is. */
export interface DeviceHead extends ChainHead {
  readonly filePath: string;
}

/** What a caller chooses about a device. */
export interface NewAuditDevice {
  readonly type: string;
  readonly description: string;
  readonly options: JsonObject;
  readonly local: boolean;
}

/**
 * Open the audit devices of a vault that has just been unsealed. One that cannot be opened stays among them and is tried
 * again with every request; while none can be written, nothing is answered.
 * @throws {RksError} STORAGE_CORRUPT
 */
export async function openAuditBroker(init: AuditBrokerInit): Promise<AuditBroker> {
  const broker = new AuditBroker(init, await readDeviceTable(init.storage));
  await broker.reopen();
  return broker;
}

/** Records every request on every audit device; one that has it is enough. */
export class AuditBroker implements RequestAudit, AsyncDisposable {
  readonly #init: AuditBrokerInit;
  readonly #changes = new Serial();
  #devices: readonly AuditDevice[];
  /** Of the table, as this process knows it. */
  #tableRevision: number;
  /** Requests whose line could not be written; it is written with that of their response. */
  readonly #unrecorded = new WeakSet<AuditedRequest>();
  /** Requests that have not come to their response, and how many those are. */
  readonly #begun = new WeakSet<AuditedRequest>();
  #inFlight = 0;
  #closed = false;

  /** For `openAuditBroker`. @throws {RksError} STORAGE_CORRUPT */
  constructor(init: AuditBrokerInit, stored: StoredDevices) {
    this.#init = init;
    this.#tableRevision = stored.modRevision;
    this.#devices = stored.devices.map((entry) => storedDevice(entry, init));
    for (const device of this.#devices) this.#warnOfRaw(device);
  }

  /**
   * Record a request. When that is not possible, only what repairs it goes on: whoever may list, enable and disable audit
   * devices. Every request that goes on must come to its `response`.
   * @throws {RksError} AUDIT_UNWRITABLE or BUSY; the request must then not be handled.
   */
  async request(request: AuditedRequest): Promise<void> {
    if (this.#closed) throw closed();
    this.#begun.add(request);
    this.#inFlight += 1;
    try {
      await this.#write((device) => device.entries.request(request));
    } catch (error) {
      if (!isRepair(request)) {
        await this.#end(request);
        throw error;
      }
      this.#unrecorded.add(request);
      this.#warnOfRepair("Request is handled without its audit line", request);
    }
  }

  /** Record how a request ended. @throws {RksError} AUDIT_UNWRITABLE or BUSY; the answer must then not be given. */
  async response(request: AuditedRequest, response: AuditedResponse): Promise<void> {
    const isLate = this.#unrecorded.has(request);
    try {
      await this.#write(({ entries }) => {
        const line = entries.response(request, response);
        return isLate ? entries.request(request) + line : line;
      });
    } catch (error) {
      if (!isRepair(request) || response.error !== undefined) throw error;
      this.#warnOfRepair("Request is answered without its audit line", request);
    } finally {
      await this.#end(request);
    }
  }

  /** Have the devices that other processes enable, and no others. */
  follow(changes: Changes): void {
    changes.on(DEVICES_KEY, () => this.#followLater());
    changes.onGap(() => this.#followLater());
  }

  /** The devices by path. */
  list(): readonly AuditDeviceEntry[] {
    return this.#devices.map(({ entry }) => entry).toSorted((a, b) => (a.path < b.path ? -1 : 1));
  }

  /**
   * Add a device; a line is written to it to see that it works. Resolves with what there is to warn of.
   * @throws {RksError} ALREADY_EXISTS when the path is in use; INPUT_INVALID for bad paths, unknown types and options, too many
   *   devices, and files that cannot be written, are something else or belong to another device.
   */
  enable(path: string, device: NewAuditDevice): Promise<readonly string[]> {
    return this.#changes.run(async () => {
      if (this.#closed) throw closed();
      const wanted = devicePath(path);
      if (this.#devices.some(({ entry }) => entry.path === wanted)) {
        throw new RksError("ALREADY_EXISTS", `path "${wanted}" is already in use`, {
          suggestion: "Enable the audit device at another path, or disable the one that is there.",
        });
      }
      const { type, description, local, options } = device;
      const salt = randomBytes(SALT_BYTES).toString("base64");
      const given = Object.entries(options).filter(([, value]) => value !== null);
      const texts = Object.fromEntries(given.map(([name, value]) => [name, String(value)]));
      const added = new AuditDevice(
        { path: wanted, type, description, local, options: texts, salt },
        this.#init,
      );
      try {
        await this.#assertNotShared(added.options);
        await assertWritable(added);
        await this.#save([...this.#devices, added]);
      } catch (error) {
        await remove(added, this.#init.logger);
        throw error;
      }
      this.#devices = [...this.#devices, added];
      return this.#warnOfRaw(added);
    });
  }

  /** Remove a device; what it has written stays. None there: nothing happens. */
  disable(path: string): Promise<void> {
    return this.#changes.run(async () => {
      if (this.#closed) throw closed();
      const wanted = devicePath(path);
      const removed = this.#devices.find(({ entry }) => entry.path === wanted);
      if (removed === undefined) return;
      const others = this.#devices.filter((device) => device !== removed);
      await this.#save(others);
      this.#devices = others;
      await remove(removed, this.#init.logger);
    });
  }

  /** What a value looks like in a device's lines. @throws {RksError} NOT_FOUND */
  hash(path: string, value: string): string {
    return this.#enabled(path).entries.hash(value);
  }

  /**
   * The last line that a device has on disk.
   * @throws {RksError} NOT_FOUND; UNSUPPORTED for a device without a file; AUDIT_UNWRITABLE while its file cannot be opened.
   */
  head(path: string): DeviceHead {
    const { entry, head, options } = this.#enabled(path);
    const { filePath } = options;
    if (filePath === undefined) {
      throw new RksError(
        "UNSUPPORTED",
        `the audit device "${entry.path}" writes to no file, and has no chain`,
        {
          suggestion: 'Enable a device of type "file" for lines that can be verified.',
        },
      );
    }
    if (head !== undefined) return { filePath, ...head };
    throw new RksError("AUDIT_UNWRITABLE", `the file of the audit device "${entry.path}" cannot be opened`, {
      suggestion: "See the log of rks for why.",
    });
  }

  /** Open every file anew, after they were moved away. What cannot be opened is logged and tried again later. */
  async reopen(): Promise<void> {
    await Promise.allSettled(this.#devices.map((device) => device.reopen()));
  }

  /**
   * Remember how far every file's chain is, so that a file that is cut from now on is found out. A store that does not
   * answer keeps the vault open no longer than a moment.
   */
  async rememberHeads(): Promise<void> {
    const remembered = Promise.all(this.#devices.map((device) => device.rememberHead()));
    await settledWithin(remembered, { clock: this.#init.clock, timeoutMs: HEADS_PATIENCE_MS });
  }

  /**
   * Take no more requests. Those that were begun, the one that seals the vault among them, are still recorded; the files are
   * closed after the last one.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    if (this.#inFlight === 0) await this.#closeDevices();
  }

  /** Write a line on every device. One failing device among others is the log's matter, not the caller's. */
  async #write(lineFor: (device: AuditDevice) => string): Promise<void> {
    const devices = this.#devices;
    if (devices.length === 0) return;
    const results = await Promise.allSettled(devices.map((device) => device.append(lineFor(device))));
    if (results.some(({ status }) => status === "fulfilled")) return;
    // The last device was disabled meanwhile.
    if (this.#devices.length === 0) return;
    const reasons = results.flatMap((result) =>
      result.status === "rejected" ? [RksError.from(result.reason)] : [],
    );
    throw reasons.find(({ code }) => code === "BUSY") ?? reasons[0] ?? closed();
  }

  /** A request is over. */
  async #end(request: AuditedRequest): Promise<void> {
    if (!this.#begun.delete(request)) return;
    this.#inFlight -= 1;
    if (this.#closed && this.#inFlight === 0) await this.#closeDevices();
  }

  #enabled(path: string): AuditDevice {
    const wanted = devicePath(path);
    const device = this.#devices.find(({ entry }) => entry.path === wanted);
    if (device !== undefined) return device;
    throw new RksError("NOT_FOUND", `no audit device is enabled at "${wanted}"`, {
      suggestion: "List the audit devices.",
    });
  }

  async #closeDevices(): Promise<void> {
    await Promise.all(this.#devices.map((device) => device[Symbol.asyncDispose]()));
  }

  /** Two that write one file would cut off each other's lines. */
  async #assertNotShared({ filePath }: DeviceOptions): Promise<void> {
    const there = filePath === undefined ? undefined : await stat(filePath).catch(() => undefined);
    const identity = there === undefined ? undefined : `${there.dev}:${there.ino}`;
    const other = this.#devices.find(
      (device) =>
        device.options.filePath === filePath || (identity !== undefined && device.identity === identity),
    );
    if (other === undefined) return;
    throw new RksError("INPUT_INVALID", `the audit device "${other.entry.path}" writes to the same place`, {
      suggestion: "Choose another file.",
    });
  }

  async #save(devices: readonly AuditDevice[]): Promise<void> {
    const entries = devices.map(({ entry }) => entry);
    try {
      this.#tableRevision = await writeDeviceTable(this.#init.storage, entries, this.#tableRevision);
    } catch (reason) {
      if (RksError.from(reason).code === "CONFLICT") this.#followLater();
      throw reason;
    }
  }

  #followLater(): void {
    this.#changes
      .run(() => this.#followTable())
      .catch((reason: unknown) => {
        const { code, message } = RksError.from(reason);
        this.#init.logger.warn("Audit devices could not be read again", { code, error: message });
      });
  }

  /** A device of another process may not be writable here: it stays among them all the same, as after an unsealing. */
  async #followTable(): Promise<void> {
    if (this.#closed) return;
    const { devices: entries, modRevision } = await readDeviceTable(this.#init.storage);
    if (modRevision === this.#tableRevision) return;
    const before = this.#devices;
    const isKept = (device: AuditDevice): boolean => entries.some(({ salt }) => salt === device.entry.salt);
    const added = entries
      .filter(({ salt }) => !before.some(({ entry }) => entry.salt === salt))
      .map((entry) => storedDevice(entry, this.#init));
    await Promise.allSettled(added.map((device) => device.reopen()));
    this.#devices = [...before.filter(isKept), ...added];
    this.#tableRevision = modRevision;
    for (const device of before) if (!isKept(device)) await device[Symbol.asyncDispose]();
  }

  #warnOfRaw({ entry, options }: AuditDevice): readonly string[] {
    if (!options.isRaw) return [];
    this.#init.logger.warn("Audit device writes values in clear", { device: entry.path });
    return [
      "log_raw is on: everything that is written to and read from the vault goes to this device in clear.",
    ];
  }

  #warnOfRepair(message: string, { operation, path, token, connection }: AuditedRequest): void {
    const { displayName } = token?.entry ?? {};
    const { remoteAddress } = connection;
    this.#init.logger.warn(message, { operation, path, displayName, remoteAddress });
  }
}

/** Whether a request may be the one that makes the audit writable again. Its policies are still to be asked. */
function isRepair({ operation, path, token }: AuditedRequest): boolean {
  if (token === undefined) return false;
  if (path === "sys/audit" || path === "sys/audit/") return operation === "read" || operation === "list";
  const isChange = operation === "create" || operation === "update" || operation === "delete";
  return isChange && path.startsWith("sys/audit/");
}

function storedDevice(entry: AuditDeviceEntry, ports: DevicePorts): AuditDevice {
  try {
    return new AuditDevice(entry, ports);
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", `the audit device "${entry.path}" has options that are not known`, {
      suggestion: "Use the version of rks that enabled it.",
      cause,
    });
  }
}

/** @throws {RksError} INPUT_INVALID with the system's reason. */
async function assertWritable(device: AuditDevice): Promise<void> {
  try {
    await device.append(device.entries.test());
  } catch (reason) {
    const error = RksError.from(reason);
    const detail = error.cause instanceof Error ? `: ${error.cause.message}` : "";
    throw new RksError("INPUT_INVALID", error.message + detail, {
      cause: error,
      suggestion: "Make its folder writable for rks, or choose another file.",
    });
  }
}

/** Close a device that is not among the others any more. */
async function remove(device: AuditDevice, logger: Logger): Promise<void> {
  await device[Symbol.asyncDispose]();
  await device.forgetHead().catch((cause: unknown) => {
    logger.warn("Head of a removed audit device stays in the store", { device: device.entry.path, cause });
  });
}

/** The one spelling of a device's path. */
function devicePath(path: string): string {
  const wanted = `${path.replace(/^\/+|\/+$/g, "")}/`;
  if (wanted.length <= MAX_DEVICE_PATH_CHARACTERS && DEVICE_PATH.test(wanted)) return wanted;
  throw new RksError("INPUT_INVALID", `audit path ${JSON.stringify(path.slice(0, 80))} is not possible`, {
    suggestion: "Use letters, digits, _ . and -, in at most four parts.",
  });
}

function closed(): RksError {
  return new RksError("AUDIT_UNWRITABLE", "the audit devices are closed", {
    suggestion: "Unseal the vault and try again.",
  });
}
