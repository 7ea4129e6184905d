import type { z } from "zod";
import { RksError } from "@rk8s/protocol";
import {
  type CertificateRequest,
  decodePem,
  encodeExtension,
  nameValues,
  OID,
  parseCertificateRequest,
} from "@rk8s/x509";
import type { Answer } from "../../vault/backend.js";
import { hasAccessUrls } from "../issuer/access-points.js";
import type { Issuer } from "../issuer/issuer.js";
import type { PkiMount } from "../pki-mount.js";
import { proveKeyAside } from "../signing.js";
import { signedCaData } from "./ca-answer.js";
import {
  assertModestSize,
  caExtensions,
  caLifetime,
  caNamesExtension,
  caSubject,
  requestedPathLength,
} from "./ca-certificate.js";
import type { signIntermediateFields } from "./ca-fields.js";
import { MISSING_ACCESS_URLS, NO_SUBJECT, PATH_LENGTH_ZERO } from "./ca-warnings.js";

/** What `use_csr_values` takes over; everything else about a CA is decided here. */
const TAKEN_OVER: readonly string[] = [
  OID.subjectAltName,
  OID.extendedKeyUsage,
  OID.certificatePolicies,
  OID.nameConstraints,
];

/**
 * Sign a request as an intermediate CA. It never outlives its issuer, unless the issuer's `leaf_not_after_behavior` is
 * `permit`: its end is cut with a warning.
 * @throws {RksError} CSR_INVALID, KEY_TOO_WEAK, INPUT_INVALID for a path length that the issuer does not allow.
 */
export async function signIntermediate(
  pki: PkiMount,
  issuer: Issuer,
  fields: z.output<typeof signIntermediateFields>,
): Promise<Answer> {
  const authority = await pki.issuers.authority(issuer, "issuing-certificates");
  const csr = parseCertificateRequest(requestBytes(fields.csr));
  await proveKeyAside(csr);
  const pathLength = allowedPathLength(requestedPathLength(fields.max_path_length), issuer);
  const { notBefore, notAfter, warnings } = lifetime(pki, issuer, fields);
  const { subject, extensions } = names(csr, fields, pathLength);
  assertModestSize(subject, extensions);
  const issued = authority.sign({
    subject,
    spki: csr.spki,
    notBefore,
    notAfter,
    extensions,
    signatureBits: fields.signature_bits,
    usePss: fields.use_pss,
  });
  const record = { der: issued.der, issuerId: issuer.id, role: "" };
  await pki.storage.transaction([], pki.certificates.writes(issued.serialNumber, record));
  return {
    data: signedCaData(pki, issuer, issued, fields.format),
    warnings: [
      ...warnings,
      ...(subject.length === 2 ? [NO_SUBJECT] : []),
      ...(hasAccessUrls(pki.access.urlsOf(issuer)) ? [] : [MISSING_ACCESS_URLS]),
      ...(pathLength === 0 ? [PATH_LENGTH_ZERO] : []),
    ],
  };
}

/** One less than the issuer's, or what was asked for below that. @throws {RksError} INPUT_INVALID. */
function allowedPathLength(asked: number | undefined, { certificate }: Issuer): number | undefined {
  const { pathLength } = certificate;
  if (pathLength === undefined) return asked;
  if (pathLength === 0) {
    throw new RksError(
      "INPUT_INVALID",
      "the issuer has a path length of 0 and cannot sign intermediate CAs",
      {
        suggestion: "Choose another issuer, or make one with a greater max_path_length.",
      },
    );
  }
  if (asked === undefined) return pathLength - 1;
  if (asked < pathLength) return asked;
  throw new RksError(
    "INPUT_INVALID",
    `max_path_length ${asked} is not below the issuer's path length of ${pathLength}`,
    { suggestion: `Ask for ${pathLength - 1} or less, or leave it out.` },
  );
}

function lifetime(
  pki: PkiMount,
  issuer: Issuer,
  fields: z.output<typeof signIntermediateFields>,
): ReturnType<typeof caLifetime> {
  const asked = caLifetime(fields, { mount: pki.mount, now: pki.clock.now() });
  const { notAfter: issuerEnd } = issuer.certificate;
  if (asked.notAfter <= issuerEnd) return asked;
  const end = new Date(issuerEnd).toISOString();
  if (issuer.leafNotAfterBehavior === "permit") {
    const warning = `the certificate outlives its issuer, which ends at ${end}: chains over it fail from then on`;
    return { ...asked, warnings: [...asked.warnings, warning] };
  }
  if (issuerEnd <= asked.notBefore) {
    throw new RksError("INPUT_INVALID", `the issuer ends at ${end}, before the certificate would begin`, {
      suggestion: "Choose another issuer, or renew this one.",
    });
  }
  const warning = `the certificate ends with its issuer at ${end}, earlier than asked for`;
  return { ...asked, notAfter: issuerEnd, warnings: [...asked.warnings, warning] };
}

function names(
  csr: CertificateRequest,
  fields: z.output<typeof signIntermediateFields>,
  pathLength: number | undefined,
): { readonly subject: Uint8Array; readonly extensions: readonly Uint8Array[] } {
  const own = caExtensions(fields, pathLength);
  if (fields.use_csr_values) {
    const constrained = own.length > 2;
    const taken = csr.requestedExtensions.filter(
      ({ oid }) => TAKEN_OVER.includes(oid) && !(constrained && oid === OID.nameConstraints),
    );
    return { subject: csr.subject.der, extensions: [...own, ...taken.map(encodeExtension)] };
  }
  const commonName = fields.common_name || (nameValues(csr.subject, OID.commonName)[0] ?? "");
  const named = { ...fields, common_name: commonName };
  const subject = caSubject(named);
  return { subject, extensions: [...own, ...caNamesExtension(named, subject)] };
}

function requestBytes(pem: string): Uint8Array {
  const blocks = decodePem(pem, { code: "CSR_INVALID" });
  const block = blocks.find(({ label }) => label.endsWith("CERTIFICATE REQUEST"));
  if (block !== undefined) return block.der;
  throw new RksError("CSR_INVALID", 'field "csr" has no CERTIFICATE REQUEST block', {
    suggestion: "Send the request in PEM.",
  });
}
