import { RksError } from "@rk8s/protocol";

import type { JsonObject } from "../../vault/backend.js";

/** Vault's bounds. */
const MAX_ENTRIES = 64;
const MAX_NAME_BYTES = 128;
const MAX_VALUE_BYTES = 512;

/**
 * Check the texts that a user keeps beside a secret.
 * @throws {RksError} INPUT_INVALID for what is no text and what is too much.
 */
export function readCustomMetadata(given: JsonObject): Record<string, string> {
  const entries = Object.entries(given);
  if (entries.length > MAX_ENTRIES) refuse(`has ${entries.length} entries, at most ${MAX_ENTRIES} are kept`);
  return Object.fromEntries(
    entries.map(([name, value]) => {
      const shown = JSON.stringify(name.slice(0, 80));
      if (name === "" || Buffer.byteLength(name) > MAX_NAME_BYTES) {
        refuse(`has the name ${shown}, which is not 1 to ${MAX_NAME_BYTES} bytes long`);
      }
      if (typeof value !== "string") refuse(`has a value for ${shown} that is no text`);
      if (Buffer.byteLength(value) > MAX_VALUE_BYTES) {
        refuse(`has a value for ${shown} that is longer than ${MAX_VALUE_BYTES} bytes`);
      }
      return [name, value];
    }),
  );
}

function refuse(problem: string): never {
  throw new RksError("INPUT_INVALID", `custom_metadata ${problem}`, {
    suggestion: "Keep short texts there, and everything else in the secret.",
  });
}
