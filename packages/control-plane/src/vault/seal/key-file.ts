import { open, stat } from "node:fs/promises";

import { RksError } from "@rk8s/protocol";

import { letsOthersIn } from "../../config/secret-file.js";
import { randomKey } from "./keyring.js";
import { KEY_BYTES } from "./sealed-record.js";

/**
 * Make a file with a new unseal key for the key-file seal: 32 random bytes, mode 0600, on disk when this returns.
 * @throws {RksError} ALREADY_EXISTS when there is a file; it is never overwritten.
 */
export async function createKeyFile(path: string): Promise<Uint8Array> {
  const key = randomKey();
  try {
    const file = await open(path, "wx", 0o600);
    try {
      await file.writeFile(key);
      await file.sync();
    } finally {
      await file.close();
    }
    return key;
  } catch (cause) {
    key.fill(0);
    throw keyFileError(path, cause);
  }
}

/**
 * Read the unseal key; the caller wipes it.
 * @throws {RksError} CONFIG_INVALID when the file is missing, not 32 bytes long or open to other users.
 */
export async function readKeyFile(path: string): Promise<Uint8Array> {
  try {
    const { mode, size } = await stat(path);
    if (letsOthersIn(mode)) {
      throw new RksError("CONFIG_INVALID", `key file "${path}" is open to other users`, {
        suggestion: `Run: chmod 600 ${path}`,
      });
    }
    if (size !== KEY_BYTES) {
      throw new RksError(
        "CONFIG_INVALID",
        `key file "${path}" is ${size} bytes long, expected ${KEY_BYTES}`,
        {
          suggestion: "Name the file that was made when the vault was initialised.",
        },
      );
    }
    const file = await open(path, "r");
    try {
      const key = new Uint8Array(KEY_BYTES);
      await file.read(key, 0, KEY_BYTES, 0);
      return key;
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw keyFileError(path, cause);
  }
}

function keyFileError(path: string, cause: unknown): RksError {
  if (cause instanceof RksError) return cause;
  if (cause instanceof Error && "code" in cause && cause.code === "EEXIST") {
    return new RksError("ALREADY_EXISTS", `key file "${path}" exists already`, {
      suggestion: "Name another file, or remove it when no vault needs it.",
    });
  }
  return new RksError("CONFIG_INVALID", `cannot use the key file "${path}"`, {
    suggestion: "Check that the folder exists and that rks may read and write it.",
    cause,
  });
}
