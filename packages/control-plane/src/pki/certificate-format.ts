import type { KeyObject } from "node:crypto";

const LINE_LENGTH = 64;

/** A DER certificate as Vault writes PEM: without a newline at the end. Made by Node's base64, for it is public and of every answer. */
export function certificatePem(der: Uint8Array): string {
  const digits = Buffer.from(der.buffer, der.byteOffset, der.length).toString("base64");
  let pem = "-----BEGIN CERTIFICATE-----\n";
  for (let at = 0; at < digits.length; at += LINE_LENGTH) pem += `${digits.slice(at, at + LINE_LENGTH)}\n`;
  return `${pem}-----END CERTIFICATE-----`;
}

/** A certificate as the field `format` asks for: PEM, or DER in base64. */
export function encodeCertificate(der: Uint8Array, format: "pem" | "der" | "pem_bundle"): string {
  return format === "der" ? Buffer.from(der).toString("base64") : certificatePem(der);
}

/**
 * A private key as `format` and `private_key_format` ask for: by default PEM of SEC1 for EC and of PKCS#1 for RSA; PKCS#8
 * for Ed25519, which has no other form. Only for answers that hand a key out by their nature.
 */
export function encodePrivateKey(
  key: KeyObject,
  request: { readonly format: "pem" | "der" | "pem_bundle"; readonly private_key_format: "der" | "pkcs8" },
): { readonly private_key: string; readonly private_key_type: string } {
  const keyType = key.asymmetricKeyType ?? "";
  const traditional = keyType === "ec" ? "sec1" : keyType === "rsa" ? "pkcs1" : "pkcs8";
  const type = request.private_key_format === "pkcs8" ? "pkcs8" : traditional;
  const text =
    request.format === "der"
      ? key.export({ type, format: "der" }).toString("base64")
      : String(key.export({ type, format: "pem" })).trimEnd();
  return { private_key: text, private_key_type: keyType };
}
