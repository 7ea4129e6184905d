import { RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { z } from "zod";

const TABLE_KEY = "core/audit";
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

/** Read the audit devices. @throws {RksError} STORAGE_CORRUPT */
export async function readDeviceTable(storage: Storage): Promise<readonly AuditDeviceEntry[]> {
  const entry = await storage.get(TABLE_KEY);
  if (entry === undefined) return [];
  try {
    return deviceTable.parse(JSON.parse(Buffer.from(entry.value).toString())).devices;
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", "the table of audit devices has a form that is not known", {
      suggestion: "Use the version of rks that wrote the data folder.",
      cause,
    });
  }
}

/** Replace the audit devices. @throws {RksError} INPUT_INVALID when there are too many. */
export async function writeDeviceTable(
  storage: Storage,
  devices: readonly AuditDeviceEntry[],
): Promise<void> {
  if (devices.length > MAX_DEVICES) {
    throw new RksError("INPUT_INVALID", `there are at most ${MAX_DEVICES} audit devices`, {
      suggestion: "Disable one that is not used.",
    });
  }
  const value = Buffer.from(JSON.stringify({ version: 1, devices }));
  await storage.transaction([], [{ type: "put", key: TABLE_KEY, value }]);
}
