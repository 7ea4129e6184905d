import type { JsonObject } from "../../vault/backend.js";
import type { IssuedCertificate } from "../certificate-authority.js";
import { encodeCertificate } from "../certificate-format.js";
import type { Issuer } from "../issuer/issuer.js";
import type { PkiMount } from "../pki-mount.js";
import { formatSerialNumber } from "../serial-number.js";

/** What signing a CA answers: the certificate, and its chain with itself first. */
export function signedCaData(
  pki: PkiMount,
  issuer: Issuer,
  issued: IssuedCertificate,
  format: "pem" | "der" | "pem_bundle",
): JsonObject {
  const certificate = encodeCertificate(issued.der, format);
  const links = pki.issuers.chainOf(issuer).map((link) => encodeCertificate(link.certificate.der, format));
  const chain = [certificate, ...links];
  return {
    certificate: format === "pem_bundle" ? chain.join("\n") : certificate,
    issuing_ca: encodeCertificate(issuer.certificate.der, format),
    ca_chain: chain,
    serial_number: formatSerialNumber(issued.serialNumber),
    expiration: issued.notAfter / 1000,
  };
}
