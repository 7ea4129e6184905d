import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";

import { RksError } from "@rk8s/protocol";

import { decodeTokenEntry, encodeTokenEntry, type TokenEntry } from "./token-entry.js";

export const BATCH_PREFIX = "hvb.";
/** HTTP servers take headers of 16 KiB in all. */
export const MAX_BATCH_TOKEN_CHARACTERS = 8192;
const FORMAT = 1;
const SEED_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + SEED_BYTES + NONCE_BYTES;

/**
 * Write a token that is its own entry, encrypted: format, seed, nonce, ciphertext, tag. Its key comes from the store's
 * secret and the seed, so that no key encrypts often enough for a nonce to come twice.
 * @throws {RksError} INPUT_INVALID when it would be too long for a header.
 */
export function sealBatchToken(secret: Uint8Array, entry: TokenEntry): string {
  const header = Buffer.concat([Buffer.of(FORMAT), randomBytes(SEED_BYTES + NONCE_BYTES)]);
  const cipher = createCipheriv("aes-256-gcm", keyOf(secret, header), nonceOf(header));
  cipher.setAAD(header);
  const sealed = Buffer.concat([header, cipher.update(encodeTokenEntry(entry)), cipher.final()]);
  const token = BATCH_PREFIX + Buffer.concat([sealed, cipher.getAuthTag()]).toString("base64url");
  if (token.length <= MAX_BATCH_TOKEN_CHARACTERS) return token;
  throw new RksError("INPUT_INVALID", "the policies and metadata do not fit into a batch token", {
    suggestion: "Give the token fewer policies and less metadata, or make it a service token.",
  });
}

/** Read a token that `sealBatchToken` wrote under the same secret; undefined for everything else. */
export function openBatchToken(secret: Uint8Array, token: string): TokenEntry | undefined {
  if (!token.startsWith(BATCH_PREFIX) || token.length > MAX_BATCH_TOKEN_CHARACTERS) return undefined;
  const text = token.slice(BATCH_PREFIX.length);
  const bytes = Buffer.from(text, "base64url");
  // One token has one spelling.
  if (bytes.toString("base64url") !== text) return undefined;
  if (bytes.length < HEADER_BYTES + TAG_BYTES || bytes[0] !== FORMAT) return undefined;
  const header = bytes.subarray(0, HEADER_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", keyOf(secret, header), nonceOf(header), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(header);
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    const body = bytes.subarray(HEADER_BYTES, -TAG_BYTES);
    return decodeTokenEntry(Buffer.concat([decipher.update(body), decipher.final()]));
  } catch {
    return undefined;
  }
}

function keyOf(secret: Uint8Array, header: Uint8Array): Uint8Array {
  return createHmac("sha256", secret)
    .update(header.subarray(1, 1 + SEED_BYTES))
    .digest();
}

function nonceOf(header: Uint8Array): Uint8Array {
  return header.subarray(1 + SEED_BYTES, HEADER_BYTES);
}
