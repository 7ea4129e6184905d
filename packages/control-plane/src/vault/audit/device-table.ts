import { RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { z } from "zod";

/** Of the barrier. */
export const DEVICES_KEY = "core/audit";
/** Every request is written to each. */
const MAX_DEVICES = 8;

const deviceEntry = z.object({
  /** With trailing slash. */
  path: z.string(),
  type: z.string(),
  description: z.string(),
  /** As they were given. */
  options: z.record(z.string(), z.string()),
  local: z.boolean(),
  /** Base64. */
  salt: z.string(),
});
const deviceTable = z.object({ version: z.literal(1), devices: z.array(deviceEntry) });

/** An audit device as it is remembered. The salt is not for callers. */
export type AuditDeviceEntry = Readonly<z.infer<typeof deviceEntry>>;

/** The audit devices as they were read. */
export interface StoredDevices {
  readonly devices: readonly AuditDeviceEntry[];
  /** For a change of them. */
  readonly modRevision: number;
}

/** Read the audit devices. @throws {RksError} STORAGE_CORRUPT */
export async function readDeviceTable(storage: Storage): Promise<StoredDevices> {
  const entry = await storage.get(DEVICES_KEY);
  if (entry === undefined) return { devices: [], modRevision: 0 };
  const { modRevision } = entry;
  try {
    return {
      devices: deviceTable.parse(JSON.parse(Buffer.from(entry.value).toString())).devices,
      modRevision,
    };
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", "the table of audit devices has a form that is not known", {
      suggestion: "Use the version of rks that wrote the data folder.",
      cause,
    });
  }
}

/**
 * Replace the audit devices; gives the revision for the next change.
 * @throws {RksError} INPUT_INVALID when there are too many, CONFLICT when others changed them.
 */
export async function writeDeviceTable(
  storage: Storage,
  devices: readonly AuditDeviceEntry[],
  modRevision: number,
): Promise<number> {
  if (devices.length > MAX_DEVICES) {
    throw new RksError("INPUT_INVALID", `there are at most ${MAX_DEVICES} audit devices`, {
      suggestion: "Disable one that is not used.",
    });
  }
  const value = Buffer.from(JSON.stringify({ version: 1, devices }));
  const { succeeded, revision } = await storage.transaction(
    [{ key: DEVICES_KEY, modRevision }],
    [{ type: "put", key: DEVICES_KEY, value }],
  );
  if (succeeded) return revision;
  throw new RksError("CONFLICT", "another rks changed the audit devices at this moment", {
    suggestion: "Try again.",
  });
}
