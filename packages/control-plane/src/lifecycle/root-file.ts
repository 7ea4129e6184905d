import { readFile } from "node:fs/promises";
import { encodePem } from "@rk8s/x509";
import { writeDurably } from "./durable-file.js";

/**
 * Bring `root.pem` in line with the roots to trust, the one that signs first. It is public, and replaced as a whole; who reads
 * it finds the old content or the new. Gives whether it was another one.
 * @throws {RksError} STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function publishRoots(file: string, bundle: readonly Uint8Array[]): Promise<boolean> {
  const pem = bundle.map((der) => encodePem("CERTIFICATE", der)).join("");
  const before = await readFile(file, "utf8").catch(() => undefined);
  if (before === pem) return false;
  await writeDurably(file, pem, { mode: 0o644 });
  return true;
}
