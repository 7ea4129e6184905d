import { fromUtf8, RksError, utf8 } from "@rk8s/protocol";
import { MAX_VALUE_BYTES } from "@rk8s/storage";

import type { JsonObject } from "../../vault/backend.js";

/** Deeper than any configuration; far from what exhausts the stack of a JSON writer. */
const MAX_DEPTH = 500;

/**
 * Encode a secret for the barrier.
 * @throws {RksError} INPUT_INVALID when it is larger than one storage entry or nested too deep.
 */
export function encodeSecret(path: string, data: JsonObject): Uint8Array {
  if (isDeeper(data, MAX_DEPTH)) {
    throw new RksError("INPUT_INVALID", `secret "${shown(path)}" is nested deeper than ${MAX_DEPTH} levels`, {
      suggestion: "Store the value as text.",
    });
  }
  const bytes = utf8(JSON.stringify(data));
  if (bytes.byteLength <= MAX_VALUE_BYTES) return bytes;
  throw new RksError(
    "INPUT_INVALID",
    `secret "${shown(path)}" is ${bytes.byteLength} bytes long, at most ${MAX_VALUE_BYTES} can be stored`,
    { suggestion: "Split it over several paths." },
  );
}

/** @throws {RksError} STORAGE_CORRUPT when it is not what `encodeSecret` made. */
export function decodeSecret(path: string, bytes: Uint8Array): JsonObject {
  try {
    return JSON.parse(fromUtf8(bytes)) as JsonObject;
  } catch {
    // Without a cause: a parser's error quotes what it could not parse.
    throw new RksError("STORAGE_CORRUPT", `the secret at "${shown(path)}" cannot be read`, {
      suggestion: "Restore the data folder from the newest backup.",
    });
  }
}

function shown(path: string): string {
  return path.slice(0, 120);
}

/** Level by level, so that its own stack stays flat. */
function isDeeper(value: unknown, levels: number): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; depth <= levels; depth += 1) {
    level = level.flatMap((item): unknown[] =>
      typeof item === "object" && item !== null ? Object.values(item) : [],
    );
    if (level.length === 0) return false;
  }
  return true;
}
