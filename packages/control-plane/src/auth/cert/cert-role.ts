import { RksError } from "@rk8s/protocol";
import { decodePemCertificates } from "@rk8s/x509";
import { z } from "zod";

import type { JsonObject } from "../../vault/backend.js";
import { flag, list, text } from "../../vault/field-types.js";
import {
  describeTokenParameters,
  readTokenParameters,
  tokenParameterFields,
  tokenParameters,
} from "../../vault/token/token-parameters.js";
import { type ReadCertificate, readCertificate } from "./client-certificate.js";
import { isExtensionRule } from "./name-rules.js";

const MAX_CERTIFICATES = 16;
const MAX_PEM_CHARACTERS = 262_144;

/** Fields of a role (`certs/:name`), Vault's names. */
export const roleFields = z.object({
  certificate: text("", { maxCharacters: MAX_PEM_CHARACTERS }),
  allowed_names: list(),
  allowed_common_names: list(),
  allowed_dns_sans: list(),
  allowed_email_sans: list(),
  allowed_uri_sans: list(),
  allowed_organizational_units: list(),
  required_extensions: list(),
  allowed_metadata_extensions: list(),
  display_name: text(),
  ocsp_enabled: flag(false),
  ...tokenParameterFields,
});

const texts = z.array(z.string()).readonly();

/** A role as it is kept. */
export const certRole = z.object({
  /** PEM; each is trusted itself, and those of CAs with what they issue. */
  certificate: z.string(),
  rules: z.object({
    names: texts,
    commonNames: texts,
    dnsSans: texts,
    emailSans: texts,
    uriSans: texts,
    organizationalUnits: texts,
    extensions: texts,
  }),
  /** Extensions whose text goes into the token's metadata. */
  metadataExtensions: texts,
  displayName: z.string(),
  token: tokenParameters,
});
export type CertRole = Readonly<z.infer<typeof certRole>>;

/**
 * Put what was sent over what the role was.
 * @throws {RksError} INPUT_INVALID, CERTIFICATE_INVALID, UNSUPPORTED for OCSP.
 */
export function readRole(fields: z.output<typeof roleFields>, stored: CertRole | undefined): CertRole {
  if (fields.ocsp_enabled) {
    throw new RksError("UNSUPPORTED", `"ocsp_enabled" is not built for logins`, {
      suggestion: "Upload a revocation list with crls/:name, or use short-lived certificates.",
    });
  }
  const certificate = fields.certificate === "" ? (stored?.certificate ?? "") : fields.certificate;
  if (certificate === "") throw wrong("the role has no certificate", "Give the trusted certificate in PEM.");
  trustedCertificates(certificate);
  const rules = stored?.rules;
  const extensions = fields.required_extensions ?? rules?.extensions ?? [];
  const odd = extensions.find((rule) => !isExtensionRule(rule));
  if (odd !== undefined) {
    throw wrong(
      `required extension ${JSON.stringify(odd.slice(0, 80))} cannot be understood`,
      "Write it like 1.2.3.4:value or hex:1.2.3.4:0c05*.",
    );
  }
  return {
    certificate,
    rules: {
      names: fields.allowed_names ?? rules?.names ?? [],
      commonNames: fields.allowed_common_names ?? rules?.commonNames ?? [],
      dnsSans: fields.allowed_dns_sans ?? rules?.dnsSans ?? [],
      emailSans: fields.allowed_email_sans ?? rules?.emailSans ?? [],
      uriSans: fields.allowed_uri_sans ?? rules?.uriSans ?? [],
      organizationalUnits: fields.allowed_organizational_units ?? rules?.organizationalUnits ?? [],
      extensions,
    },
    metadataExtensions: fields.allowed_metadata_extensions ?? stored?.metadataExtensions ?? [],
    displayName: fields.display_name ?? stored?.displayName ?? "",
    token: readTokenParameters(fields, stored?.token),
  };
}

/**
 * The certificates of a role, read.
 * @throws {RksError} CERTIFICATE_INVALID, INPUT_INVALID for too many.
 */
export function trustedCertificates(pem: string): readonly ReadCertificate[] {
  const ders = decodePemCertificates(pem);
  if (ders.length > MAX_CERTIFICATES) {
    throw wrong(`${ders.length} certificates are too many`, `Give at most ${MAX_CERTIFICATES}.`);
  }
  return ders.map(readCertificate);
}

/** A role in Vault's words. */
export function describeRole({ rules, ...role }: CertRole): JsonObject {
  return {
    allowed_common_names: rules.commonNames,
    allowed_dns_sans: rules.dnsSans,
    allowed_email_sans: rules.emailSans,
    allowed_metadata_extensions: role.metadataExtensions,
    allowed_names: rules.names,
    allowed_organizational_units: rules.organizationalUnits,
    allowed_uri_sans: rules.uriSans,
    certificate: role.certificate,
    display_name: role.displayName,
    ocsp_enabled: false,
    required_extensions: rules.extensions,
    ...describeTokenParameters(role.token),
  };
}

function wrong(message: string, suggestion: string): RksError {
  return new RksError("INPUT_INVALID", message, { suggestion });
}
