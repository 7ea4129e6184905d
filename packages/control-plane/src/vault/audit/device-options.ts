import { isAbsolute, normalize } from "node:path";

import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { JsonObject } from "../backend.js";
import { flag, parseFields, text } from "../field-types.js";

/** Where a device writes and how; complete and checked. */
export interface DeviceOptions {
  /** Absolute; undefined: the process's standard output. */
  readonly filePath: string | undefined;
  readonly isRaw: boolean;
  readonly hashAccessors: boolean;
}

const TYPES = ["file", "stdout"];
const STDOUT = "stdout";
const options = z.object({
  file_path: text(""),
  /** What older clients call it. */
  path: text(""),
  format: text("json"),
  mode: text("0600"),
  log_raw: flag(false),
  hmac_accessor: flag(true),
});

/**
 * Read a device's type and options. Options that are not known are refused: one that was meant to filter or to hash must not
 * be left out in silence.
 * @throws {RksError} INPUT_INVALID
 */
export function parseDeviceOptions(type: string, given: JsonObject): DeviceOptions {
  if (!TYPES.includes(type)) {
    throw refused(
      `audit device type "${type.slice(0, 40)}" is not known`,
      `Use one of: ${TYPES.join(", ")}.`,
    );
  }
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(options.shape, name));
  if (unknown !== undefined) {
    const known = Object.keys(options.shape).join(", ");
    throw refused(`audit option "${unknown.slice(0, 40)}" is not known`, `Use some of: ${known}.`);
  }
  const parsed = parseFields(options, given, "the audit device");
  if (parsed.format !== "json") {
    throw refused(`audit format "${parsed.format.slice(0, 40)}" is not known`, "Use json.");
  }
  if (!/^0?600$/.test(parsed.mode)) {
    throw refused(
      `audit file mode "${parsed.mode.slice(0, 40)}" is not possible`,
      "Leave it out: it is 0600.",
    );
  }
  return {
    filePath: pathOf(type, parsed.file_path === "" ? parsed.path : parsed.file_path),
    isRaw: parsed.log_raw,
    hashAccessors: parsed.hmac_accessor,
  };
}

function pathOf(type: string, path: string): string | undefined {
  if (type === STDOUT) {
    if (path === "" || path === STDOUT) return undefined;
    throw refused(
      `a device of type "stdout" cannot write to "${path.slice(0, 200)}"`,
      'Use the type "file".',
    );
  }
  if (path === STDOUT) return undefined;
  if (isAbsolute(path) && !path.includes("\0")) return normalize(path);
  throw refused(
    `audit option file_path "${path.slice(0, 200)}" is not an absolute path`,
    'Give the path of a file, for example "/var/log/rks/audit.log", or "stdout".',
  );
}

function refused(message: string, suggestion: string): RksError {
  return new RksError("INPUT_INVALID", message, { suggestion });
}
