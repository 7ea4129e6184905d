import { RksError } from "@rk8s/protocol";
import type { Storage, Write } from "@rk8s/storage";
import { z } from "zod";

import type { KeyUse } from "./barrier.js";

/** Of the barrier. */
export const ROTATION_KEY = "core/key-rotation";
/**
 * Nine tenths of 2^32: beyond that, two of the random 96-bit nonces of one AES-GCM key are no longer unlikely enough to
 * be the same (NIST SP 800-38D, 8.3).
 */
const MAX_OPERATIONS = 3_865_470_566;
const MIN_OPERATIONS = 1_000_000;
const MIN_INTERVAL_SECONDS = 24 * 3600;

/** When the key that encrypts is replaced without anybody asking. */
export interface RotationConfig {
  readonly enabled: boolean;
  /** Values that one key encrypts at most. */
  readonly maxOperations: number;
  /** How long one key is used, from the first write after it; 0: as long as the operations last. */
  readonly intervalSeconds: number;
}

const stored = z.object({
  version: z.literal(1),
  enabled: z.boolean(),
  maxOperations: z.int().min(1).max(MAX_OPERATIONS),
  intervalSeconds: z.int().min(0),
});

/** @throws {RksError} STORAGE_CORRUPT */
export async function readRotationConfig(barrier: Storage): Promise<RotationConfig> {
  const entry = await barrier.get(ROTATION_KEY);
  if (entry === undefined) return { enabled: true, maxOperations: MAX_OPERATIONS, intervalSeconds: 0 };
  try {
    return stored.parse(JSON.parse(Buffer.from(entry.value).toString()));
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", "the settings of the key rotation have a form that is not known", {
      suggestion: "Use the version of rks that wrote the data folder.",
      cause,
    });
  }
}

/**
 * The entry that keeps the settings.
 * @throws {RksError} INPUT_INVALID for fewer operations or a shorter interval than makes sense, or too many of them.
 */
export function rotationConfigWrite(config: RotationConfig): Write {
  const { maxOperations, intervalSeconds } = config;
  if (maxOperations < MIN_OPERATIONS || maxOperations > MAX_OPERATIONS) {
    throw refused(
      `max_operations ${maxOperations} is not from ${MIN_OPERATIONS} to ${MAX_OPERATIONS}`,
      `Use ${MAX_OPERATIONS} unless a rule asks for less.`,
    );
  }
  if (intervalSeconds !== 0 && intervalSeconds < MIN_INTERVAL_SECONDS) {
    throw refused(`interval ${intervalSeconds} s is shorter than a day`, "Use 24h or more, or 0 for none.");
  }
  return { type: "put", key: ROTATION_KEY, value: Buffer.from(JSON.stringify({ version: 1, ...config })) };
}

/** Whether the key that encrypts has been used enough. A clock that was put back only makes its interval longer. */
export function isRotationDue(config: RotationConfig, use: KeyUse, nowMs: number): boolean {
  if (!config.enabled) return use.encryptions >= MAX_OPERATIONS;
  if (use.encryptions >= config.maxOperations) return true;
  return config.intervalSeconds > 0 && nowMs >= use.sinceMs + config.intervalSeconds * 1000;
}

function refused(message: string, suggestion: string): RksError {
  return new RksError("INPUT_INVALID", message, { suggestion });
}
