import { readFile } from "node:fs/promises";
import { encodePem } from "@rk8s/x509";
import { writeDurably } from "./durable-file.js";

/**
 * Bring `root.pem` in line with the roots to trust, the one that signs first. It is public, and replaced as a whole; who reads
 * it finds the old content or the new.
 * @throws {RksError} STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function publishRoots(file: string, bundle: readonly Uint8Array[]): Promise<void> {
  const pem = bundle.map((der) => encodePem("CERTIFICATE", der)).join("");
  const before = await readFile(file, "utf8").catch(() => undefined);
  if (before !== pem) await writeDurably(file, pem, { mode: 0o644 });
}
