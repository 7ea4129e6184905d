import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

/** machine-id(5) */
const MACHINE_ID_FILE = "/etc/machine-id";
const LABEL = "rk8s/recover-machine/1\0";

/**
 * What the control plane gets to know of this machine's id (SPEC.md §20): a hash that nothing else makes. Zeros when the
 * host has no id, or none yet.
 */
export async function readMachineId(path: string = MACHINE_ID_FILE): Promise<Uint8Array> {
  const id = (await readFile(path, "utf8").catch(() => "")).trim();
  if (!/^[0-9a-f]{32}$/.test(id)) return new Uint8Array(32);
  return createHash("sha256").update(LABEL).update(id).digest();
}
