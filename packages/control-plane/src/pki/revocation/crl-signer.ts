import { hash } from "node:crypto";
import type { Certificate } from "@rk8s/x509";
import type { Issuer, IssuerState } from "../issuer/issuer.js";

const ID_DIGITS = 32;

/**
 * Which certificate revocation list certificates of an issuer are in. Issuers with one name and one key share theirs,
 * and an issuer that is deleted and imported again finds its own.
 */
export function crlIdOf(issuer: Pick<Certificate, "subject" | "spki">): string {
  const name = issuer.subject.der;
  return hash("sha256", Buffer.concat([name, issuer.spki]), "hex").slice(0, ID_DIGITS);
}

/** Who signs an issuer's list: itself, or another with its name and key; undefined when none may or none has the key. */
export function crlSignerFor(issuer: Issuer, state: IssuerState): Issuer | undefined {
  if (maySignCrls(issuer)) return issuer;
  const crlId = crlIdOf(issuer.certificate);
  return [...state.issuers.values()].find(
    (other) => maySignCrls(other) && crlIdOf(other.certificate) === crlId,
  );
}

function maySignCrls(issuer: Issuer): boolean {
  return issuer.keyId !== "" && issuer.usage.includes("crl-signing");
}
