import { type CertificateRequest, OID } from "@rk8s/x509";
import { roleExtendedKeyUsage, roleKeyUsage } from "../role/role.js";
import type { PkiRole } from "../role/role-fields.js";

/** Attributes of a subject that `sign` takes from a CSR, if the role lets it. */
const USED_ATTRIBUTES: ReadonlySet<string> = new Set([OID.commonName, OID.serialNumber, OID.userId]);
/** Extensions whose wishes are looked into, or that are the issuer's own in every certificate. */
const KNOWN_EXTENSIONS: ReadonlySet<string> = new Set([
  OID.subjectAltName,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.basicConstraints,
  OID.subjectKeyIdentifier,
]);

/**
 * What a CSR asks for that a role decides and does not give, besides names: nothing of it is in the certificate, and whoever
 * asked is told so.
 */
export function unusedRequestWarnings(csr: CertificateRequest, role: PkiRole): string[] {
  const { requested } = csr;
  const warnings: string[] = [];
  const note = (what: string, wishes: readonly string[], remedy: string): void => {
    if (wishes.length === 0) return;
    const shown = [...new Set(wishes)].slice(0, 10).join(", ");
    warnings.push(`${what} ${shown} of the CSR not used: ${remedy}`);
  };
  const usages = roleKeyUsage(role);
  const extended = roleExtendedKeyUsage(role);
  const attributes = csr.subject.rdns.flat().filter(({ type }) => !USED_ATTRIBUTES.has(type));
  note(
    "subject attributes",
    attributes.map(({ type }) => type),
    "the role's organization, ou, country … are",
  );
  note(
    "key usages",
    (requested.keyUsage ?? []).filter((usage) => !usages.includes(usage)),
    "the role's key_usage is",
  );
  note(
    "extended key usages",
    (requested.extendedKeyUsage ?? []).filter((oid) => !extended.includes(oid)),
    "the role's ext_key_usage and flags are",
  );
  note("basic constraints", requested.isCa ? ["CA:TRUE"] : [], "sign with root/sign-intermediate for that");
  note(
    "extensions",
    csr.requestedExtensions.map(({ oid }) => oid).filter((oid) => !KNOWN_EXTENSIONS.has(oid)),
    "sign-verbatim copies them",
  );
  return warnings;
}
