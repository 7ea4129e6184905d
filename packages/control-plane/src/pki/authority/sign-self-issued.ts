import { equalBytes, RksError } from "@rk8s/protocol";
import { type Certificate, decodePemCertificates, encodeExtension, OID, parseCertificate } from "@rk8s/x509";
import type { Answer } from "../../vault/backend.js";
import { subjectKeyIdOf } from "../certificate-authority.js";
import type { Issuer } from "../issuer/issuer.js";
import type { PkiMount } from "../pki-mount.js";
import { assertKeyStrength } from "../signing.js";
import { signedCaData } from "./ca-answer.js";

/** What a signature by another CA says anew. */
const REPLACED: readonly string[] = [
  OID.subjectKeyIdentifier,
  OID.authorityKeyIdentifier,
  OID.authorityInfoAccess,
  OID.crlDistributionPoints,
  OID.freshestCrl,
];

/**
 * Sign another CA's self-issued certificate, as it is but for serial number, issuer and access points: a cross
 * signature. Nobody proves possession of its key, which is why it takes `sudo`.
 * @throws {RksError} CERTIFICATE_INVALID when it is no single self-issued CA certificate, KEY_TOO_WEAK, INPUT_INVALID.
 */
export async function signSelfIssued(
  pki: PkiMount,
  issuer: Issuer,
  fields: {
    readonly certificate: string;
    readonly require_matching_certificate_algorithms: boolean;
  },
): Promise<Answer> {
  const authority = await pki.issuers.authority(issuer, "issuing-certificates");
  const certificate = selfIssued(fields.certificate);
  assertKeyStrength(certificate.publicKey);
  const own = issuer.certificate.publicKey.algorithm;
  const theirs = certificate.publicKey.algorithm;
  if (fields.require_matching_certificate_algorithms && own !== theirs) {
    throw new RksError(
      "INPUT_INVALID",
      `the certificate's key is of type "${theirs}", the issuer's of "${own}"`,
      {
        suggestion: "Leave require_matching_certificate_algorithms out, or choose another issuer.",
      },
    );
  }
  if (issuer.certificate.pathLength === 0) {
    throw new RksError("INPUT_INVALID", "the issuer has a path length of 0 and cannot sign other CAs", {
      suggestion: "Choose another issuer.",
    });
  }
  const issued = authority.sign({
    subject: certificate.subject.der,
    spki: certificate.spki,
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    extensions: certificate.extensions
      .filter(({ oid }) => !REPLACED.includes(oid))
      .map((extension) => encodeExtension(extension)),
    subjectKeyId: subjectKeyIdOf(certificate),
  });
  const record = { der: issued.der, issuerId: issuer.id, role: "" };
  await pki.storage.transaction([], pki.certificates.writes(issued.serialNumber, record));
  const outlives = certificate.notAfter > issuer.certificate.notAfter;
  return {
    data: signedCaData(pki, issuer, issued, "pem"),
    warnings: outlives ? ["the certificate outlives its issuer: chains over it fail from then on"] : [],
  };
}

function selfIssued(pem: string): Certificate {
  const blocks = decodePemCertificates(pem);
  const [der] = blocks;
  if (der === undefined || blocks.length !== 1)
    throw refused(`it has ${blocks.length} certificates, not one`);
  const certificate = parseCertificate(der);
  if (!certificate.isCa) throw refused("it is no CA's");
  if (!equalBytes(certificate.issuer.der, certificate.subject.der)) throw refused("it is not self-issued");
  return certificate;
}

function refused(problem: string): RksError {
  return new RksError("CERTIFICATE_INVALID", `field "certificate" is refused: ${problem}`, {
    suggestion: "Send one self-issued CA certificate in PEM.",
  });
}
