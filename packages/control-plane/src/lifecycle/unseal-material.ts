import { randomBytes } from "node:crypto";
import { link, readFile, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { RksError, Secret } from "@rk8s/protocol";
import { z } from "zod";
import type { SealConfig } from "../config/config.js";
import { letsOthersIn } from "../config/secret-file.js";
import { createKeyFile, readKeyFile } from "../vault/seal/key-file.js";
import { errnoOf, exists, fileError, makeFolder, syncFolder } from "./durable-file.js";
import type { VaultFolder } from "./vault-folder.js";

const keysDocument = z.object({ keys: z.array(z.string().min(1)).min(1), threshold: z.int().min(1) });

/** What an unattended start finds to open the vault with. */
export interface UnsealMaterial {
  readonly file: string;
  /** Base64. */
  readonly shares: readonly Secret<string>[];
}

/** `keys.json`: unseal shares in base64 and how many of them open the vault. */
export function formatKeys(keys: readonly string[], threshold: number): string {
  return `${JSON.stringify({ keys, threshold })}\n`;
}

/** The file in which a config keeps what opens the vault. */
export function unsealFileOf(seal: SealConfig, folder: VaultFolder): string {
  return seal.type === "keyfile" ? seal.keyFile : folder.keys;
}

/**
 * Read what opens the vault without a person; undefined when the file is not there.
 * @throws {RksError} CONFIG_INVALID when the file is there and cannot be read, holds something else or is open to
 * other users.
 */
export async function readUnsealMaterial(
  seal: SealConfig,
  folder: VaultFolder,
): Promise<UnsealMaterial | undefined> {
  const file = unsealFileOf(seal, folder);
  if (!(await exists(file))) return undefined;
  if (seal.type === "shamir") return { file, shares: await readKeys(file) };
  const key = await readKeyFile(file);
  try {
    return { file, shares: [new Secret(Buffer.from(key).toString("base64"))] };
  } finally {
    key.fill(0);
  }
}

/**
 * The key of a key-file seal: read, or made (0600) when the file is not there yet. A file is there whole or not at
 * all. The caller wipes the key.
 * @throws {RksError} CONFIG_INVALID when the file holds something else or cannot be made, STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function readOrCreateKeyFile(file: string): Promise<Uint8Array> {
  if (!(await exists(file))) await publishKeyFile(file);
  return readKeyFile(file);
}

async function publishKeyFile(file: string): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await makeFolder(dirname(file), { mode: 0o700 });
    (await createKeyFile(temporary)).fill(0);
    await link(temporary, file);
    await syncFolder(dirname(file));
  } catch (cause) {
    // Somebody else made it in this moment: theirs is as good.
    if (errnoOf(cause) !== "EEXIST") throw fileError(`make the key file "${file}"`, cause);
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}

async function readKeys(file: string): Promise<readonly Secret<string>[]> {
  let text: string;
  let mode: number;
  try {
    text = await readFile(file, "utf8");
    ({ mode } = await stat(file));
  } catch (cause) {
    throw new RksError("CONFIG_INVALID", `cannot read the unseal keys in "${file}"`, {
      cause,
      suggestion: "Make the file readable for the user that runs rks, or move it away and unseal by hand.",
    });
  }
  if (letsOthersIn(mode)) {
    throw new RksError("CONFIG_INVALID", `"${file}" is open to other users`, {
      suggestion: `Run: chmod 600 ${file}`,
    });
  }
  try {
    return keysDocument.parse(JSON.parse(text)).keys.map((key) => new Secret(key));
  } catch {
    // The parser's own error would repeat what it read.
    throw new RksError("CONFIG_INVALID", `"${file}" is not what \`rks gen certs\` wrote`, {
      suggestion: "Restore it, or move it away and unseal by hand with `rks unseal`.",
    });
  }
}
