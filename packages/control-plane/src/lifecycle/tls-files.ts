import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { RksError } from "@rk8s/protocol";
import type { HttpTlsConfig } from "../config/config.js";
import type { ServerIdentity } from "../http/https-server.js";

/** A chain of a dozen certificates is 20 KB. */
const MAX_FILE_BYTES = 1_048_576;

/** What the files hold, and a mark by which a change is noticed. */
export interface ReadIdentity extends ServerIdentity {
  readonly mark: string;
}

/**
 * Read a certificate and its key. Whether they are PEM and fit together shows when they are used. The caller wipes the
 * key.
 * @throws {RksError} CONFIG_INVALID when one cannot be read.
 */
export async function readTlsFiles({ certFile, keyFile }: HttpTlsConfig): Promise<ReadIdentity> {
  const certificates = await readBounded(certFile, "http_tls.cert_file");
  const privateKey = await readBounded(keyFile, "http_tls.key_file");
  const mark = createHash("sha256").update(certificates).update(privateKey).digest("hex");
  return { certificates, privateKey, mark };
}

async function readBounded(file: string, setting: string): Promise<Uint8Array> {
  try {
    await using handle = await open(file, "r");
    const { size } = await handle.stat();
    if (size > MAX_FILE_BYTES) throw new Error(`it has ${size} bytes`);
    return await handle.readFile();
  } catch (cause) {
    const reason =
      cause instanceof Error ? cause.message.replace(/, \w+ '.*$/s, "").toLowerCase() : "unknown";
    throw new RksError("CONFIG_INVALID", `cannot read "${file}" of ${setting}: ${reason}`, {
      cause,
      suggestion: `Give ${setting} a PEM file that the user of rks may read.`,
    });
  }
}
