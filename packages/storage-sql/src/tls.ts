import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";

import { RksError } from "@rk8s/protocol";

/** TLS 1.2 or newer; the server's certificate must chain to `ca` and name the URL's host. */
export interface SqlTls {
  /** Certificates (PEM) that the server's chain may end in; the system's are not used. */
  readonly ca: string;
  /** Certificate chain (PEM) that this client shows. */
  readonly certificate?: string | undefined;
  /** Its private key (PEM). */
  readonly key?: string | undefined;
}

/** Read what a URL names as files. @throws {RksError} CONFIG_INVALID */
export async function readTls(files: SqlTls): Promise<SqlTls> {
  const { ca, certificate, key } = files;
  return {
    ca: await read(ca),
    certificate: certificate === undefined ? undefined : await read(certificate),
    key: key === undefined ? undefined : await read(key),
  };
}

/** Check that there are certificates in it, and that the key is the certificate's. @throws {RksError} CONFIG_INVALID */
export function assertTls({ ca, certificate, key }: SqlTls): void {
  if ((certificate === undefined) !== (key === undefined)) {
    throw unusable("has a certificate without a key, or a key without a certificate");
  }
  try {
    new X509Certificate(ca).toString();
  } catch {
    throw unusable("has no CA certificate in PEM form");
  }
  try {
    if (certificate !== undefined && key !== undefined) createSecureContext({ cert: certificate, key });
  } catch {
    throw unusable("has a certificate and a key that cannot be read or do not belong together");
  }
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new RksError("CONFIG_INVALID", `cannot read "${file}", which the SQL url names`, {
      suggestion: "Name a PEM file that the user that runs rks may read.",
      cause,
    });
  }
}

function unusable(problem: string): RksError {
  return new RksError("CONFIG_INVALID", `tls for the SQL connection ${problem}`, {
    suggestion: "Give the CA (PEM), and for mutual TLS also certificate and key.",
  });
}
