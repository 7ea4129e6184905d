import { RksError } from "@rk8s/protocol";
import {
  type CertificateRequest,
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeKeyUsage,
  encodeSubjectAlternativeName,
  OID,
  type OtherName,
} from "@rk8s/x509";
import { isObjectIdentifier } from "../role/object-identifier.js";
import { parseExtendedKeyUsage, parseKeyUsage, unknownUsages } from "../role/key-usages.js";
import { parseOtherSan } from "../role/other-sans.js";
import type { PkiRole } from "../role/role-fields.js";
import type { VerbatimRequest } from "./issue-fields.js";
import { type Issuance, parseKeyIdentifier } from "./leaf.js";
import { decideValidity, type ValidityBounds } from "./validity.js";

/** What is the issuer's to say, whatever the request asks for; `basicConstraints` could only ask for an authority. */
const ISSUERS_OWN: ReadonlyMap<string, string> = new Map([
  [OID.basicConstraints, "basicConstraints"],
  [OID.authorityKeyIdentifier, "authorityKeyIdentifier"],
  [OID.authorityInfoAccess, "authorityInfoAccess"],
  [OID.crlDistributionPoints, "cRLDistributionPoints"],
  [OID.freshestCrl, "freshestCRL"],
]);

/**
 * Take a certificate's content from a CSR as it is: subject, names and extensions. Of the role only its times count. What only
 * an issuer can say is left out with a warning, so that the result is never an authority.
 * @throws {RksError} INPUT_INVALID for dates that cannot be, names and object identifiers that are none.
 */
export function decideVerbatim(
  role: PkiRole,
  request: VerbatimRequest,
  context: ValidityBounds & { readonly csr: CertificateRequest },
): Issuance {
  const { csr } = context;
  const warnings = ignoredFields(request);
  const others = request.other_sans.map((text) => parseOtherSan("other_sans", text));
  const copied = csr.requestedExtensions.filter(({ oid }) => {
    const own = ISSUERS_OWN.get(oid);
    if (own !== undefined)
      warnings.push(`the extension ${own} of the CSR was not used: it is the issuer's to say`);
    return (
      own === undefined &&
      oid !== OID.subjectKeyIdentifier &&
      !(oid === OID.subjectAltName && others.length > 0)
    );
  });
  const extensions = copied.map(encodeExtension);
  if (others.length > 0) extensions.push(namesWith(csr, others));
  if (!copied.some(({ oid }) => oid === OID.keyUsage)) {
    const usages = parseKeyUsage(request.key_usage);
    if (usages.length > 0) extensions.push(encodeKeyUsage(usages));
  }
  if (!copied.some(({ oid }) => oid === OID.extendedKeyUsage)) {
    const usages = [...parseExtendedKeyUsage(request.ext_key_usage), ...objectIdentifiers(request)];
    if (usages.length > 0) extensions.push(encodeExtendedKeyUsage([...new Set(usages)]));
  }
  warnings.push(...unknownUsages(request.key_usage, request.ext_key_usage));
  const validity = decideValidity(role, request, context, warnings);
  return {
    leaf: {
      subject: csr.subject.der,
      ...validity,
      extensions,
      signatureBits: request.signature_bits,
      usePss: request.use_pss,
      subjectKeyId: parseKeyIdentifier(request.skid) ?? csr.requested.subjectKeyId,
    },
    warnings,
  };
}

function ignoredFields(request: VerbatimRequest): string[] {
  const texts = ["common_name", "serial_number"] as const;
  const lists = ["alt_names", "ip_sans", "uri_sans", "user_ids"] as const;
  const given = [...texts, ...lists].filter((field) => request[field].length > 0);
  return given.map(
    (field) => `the ${field} field was provided but sign-verbatim takes everything from the CSR`,
  );
}

function namesWith({ requested, subject }: CertificateRequest, others: readonly OtherName[]): Uint8Array {
  const { dnsNames, emails, ipAddresses, uris, utf8OtherNames } = requested;
  return encodeExtension({
    oid: OID.subjectAltName,
    critical: subject.rdns.length === 0,
    value: encodeSubjectAlternativeName({
      dnsNames,
      emails,
      ipAddresses,
      uris,
      utf8OtherNames: [...utf8OtherNames, ...others],
    }),
  });
}

function objectIdentifiers({ ext_key_usage_oids: oids }: VerbatimRequest): readonly string[] {
  const wrong = oids.find((oid) => !isObjectIdentifier(oid));
  if (wrong === undefined) return oids;
  throw new RksError("INPUT_INVALID", `ext_key_usage_oids has ${JSON.stringify(wrong.slice(0, 80))}`, {
    suggestion: "Write object identifiers with dots.",
  });
}
