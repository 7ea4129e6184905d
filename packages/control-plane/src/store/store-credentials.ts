import { readFile } from "node:fs/promises";
import { RksError } from "@rk8s/protocol";
import { decodePem, encodePemBytes } from "@rk8s/x509";
import type { VaultFolder } from "../lifecycle/vault-folder.js";

/** What rks shows to an external store, and what it trusts there; PEM. */
export interface StoreCredentials {
  readonly ca: Uint8Array;
  readonly certificate: Uint8Array;
  readonly privateKey: Uint8Array;
}

/**
 * Read them from the vault folder: they are needed before anything in the vault can be read, so they are a file. Key and
 * certificates are in one, so that a new key never meets an old certificate. The caller wipes the key.
 * @throws {RksError} CONFIG_INVALID when they cannot be read.
 */
export async function readStoreCredentials(folder: VaultFolder): Promise<StoreCredentials> {
  const ca = await read(folder.rootCertificate);
  const both = await read(folder.storeClient);
  try {
    const blocks = decodePem(both);
    const key = blocks.find(({ label }) => label === "PRIVATE KEY");
    const certificates = blocks.filter(({ label }) => label === "CERTIFICATE");
    if (key === undefined || certificates.length === 0) throw new Error("key or certificate is missing");
    const certificate = Buffer.concat(certificates.map(({ der }) => encodePemBytes("CERTIFICATE", der)));
    const privateKey = encodePemBytes("PRIVATE KEY", key.der);
    key.der.fill(0);
    return { ca, certificate, privateKey };
  } catch (cause) {
    throw unusable(folder.storeClient, cause);
  } finally {
    both.fill(0);
  }
}

async function read(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw unusable(file, cause);
  }
}

function unusable(file: string, cause: unknown): RksError {
  return new RksError(
    "CONFIG_INVALID",
    `cannot use "${file}", with which rks and its store know each other`,
    {
      cause,
      suggestion:
        "Copy it from `rks gen xline-certs --rks NAME` on the host of a running rks; where none runs, see docs/operations.md.",
    },
  );
}
