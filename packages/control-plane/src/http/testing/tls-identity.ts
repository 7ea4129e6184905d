import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ServerIdentity } from "../https-server.js";

/** A self-signed certificate for 127.0.0.1 with a new key, made by OpenSSL. */
export function tlsIdentity(commonName = "test"): ServerIdentity {
  const folder = mkdtempSync(join(tmpdir(), "rks-tls-"));
  try {
    const key = join(folder, "key.pem");
    const certificate = join(folder, "certificate.pem");
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    const names = ["-subj", `/CN=${commonName}`, "-addext", "subjectAltName=IP:127.0.0.1"];
    execFileSync(
      "openssl",
      ["req", "-x509", ...curve, "-keyout", key, "-out", certificate, "-days", "2", ...names],
      { stdio: "pipe" },
    );
    return { certificates: readFileSync(certificate), privateKey: readFileSync(key) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
