import { open } from "node:fs/promises";
import { RksError } from "@rk8s/protocol";
import { z } from "zod";

/** Which vault a record was written over, and in which state: the number of its last durable transaction. */
export interface AuditStamp {
  readonly vault?: string;
  readonly sequence?: number;
}

const stamped = z.object({ vault: z.string(), sequence: z.int().min(0) });
/** Far more than one record; older ones have smaller numbers. */
const TAIL_BYTES = 65_536;

/**
 * Compare a vault with what its audit log saw last: a store that was put back as a whole is consistent in itself, and
 * with it come back join tokens that were used. A log that is missing, or another vault's, proves nothing.
 * @throws {RksError} STORAGE_CORRUPT when the store is older than the log, AUDIT_UNWRITABLE when the log cannot be read.
 */
export async function assertNotPutBack(auditFile: string, vault: Required<AuditStamp>): Promise<void> {
  const stamps = (await tailOf(auditFile)).flatMap(stampOf).filter((stamp) => stamp.vault === vault.vault);
  const seen = Math.max(0, ...stamps.map(({ sequence }) => sequence));
  if (vault.sequence >= seen) return;
  throw new RksError(
    "STORAGE_CORRUPT",
    `the store was put back to transaction ${vault.sequence}, the audit log "${auditFile}" has seen ${seen}`,
    {
      suggestion:
        "Restore the newest copy of the store; to go on with this one, revoke its join tokens afterwards and move the audit log away now.",
    },
  );
}

/** The last lines of the file; the first may be the end of one. */
async function tailOf(path: string): Promise<readonly string[]> {
  try {
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      const start = Math.max(0, size - TAIL_BYTES);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
      return buffer.subarray(0, bytesRead).toString().split("\n");
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return [];
    throw new RksError("AUDIT_UNWRITABLE", `the audit log "${path}" cannot be read`, {
      cause,
      suggestion: "Repair the permissions of the audit log.",
    });
  }
}

function stampOf(line: string): readonly Required<AuditStamp>[] {
  try {
    const parsed = stamped.safeParse(JSON.parse(line));
    return parsed.success ? [parsed.data] : [];
  } catch {
    return [];
  }
}
