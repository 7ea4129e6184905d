export { encodeAuthorityInfoAccess, parseAuthorityInfoAccess } from "./authority-info-access.js";
export type { AuthorityInfoAccess } from "./authority-info-access.js";
export { assembleCertificate, buildTbsCertificate, parseCertificate } from "./certificate.js";
export type { Certificate, TbsCertificateFields } from "./certificate.js";
export { findRevoked, isRevoked, MAX_CRL_BYTES, parseCrl, revokedCertificates } from "./certificate-list.js";
export type { CertificateList } from "./certificate-list.js";
export { assembleCrl, buildTbsCertList } from "./certificate-list-writer.js";
export type { TbsCertListFields } from "./certificate-list-writer.js";
export { encodeCertificatePolicies, parseCertificatePolicies } from "./certificate-policies.js";
export type { CertificatePolicy } from "./certificate-policies.js";
export {
  assembleCertificateRequest,
  buildCertificateRequestInfo,
  MAX_CSR_BYTES,
  parseCertificateRequest,
} from "./certificate-request.js";
export type { CertificateRequest, CertificateRequestFields } from "./certificate-request.js";
export { DerReader, MAX_DER_BYTES, TAG } from "./der-reader.js";
export type { DerErrorCode, DerReaderOptions } from "./der-reader.js";
export {
  encodeBitString,
  encodeBoolean,
  encodeContextConstructed,
  encodeContextPrimitive,
  encodeElement,
  encodeEnumerated,
  encodeIa5String,
  encodeNull,
  encodeOctetString,
  encodeOid,
  encodePrintableString,
  encodeSequence,
  encodeSetOf,
  encodeSmallInteger,
  encodeUnsignedInteger,
  encodeUtf8String,
} from "./der-writer.js";
export {
  encodeCrlDistributionPoints,
  encodeFreshestCrl,
  encodeIssuingDistributionPoint,
  parseCrlDistributionPoints,
  parseFreshestCrl,
} from "./distribution-points.js";
export type { IssuingDistributionPoint } from "./distribution-points.js";
export {
  encodeAuthorityKeyIdentifier,
  encodeBasicConstraints,
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeKeyUsage,
  encodeSubjectKeyIdentifier,
  KEY_USAGES,
} from "./extension.js";
export type { BasicConstraints, Extension, ExtensionOptions, KeyUsage } from "./extension.js";
export type { ExtensionValues } from "./extension-values.js";
export { formatIpAddress, parseIpAddress } from "./ip-address.js";
export { formatIpRange, parseIpRange } from "./ip-range.js";
export { encodeName, encodeRdnSequence, formatName, nameValues } from "./name.js";
export type { Name, NameAttribute } from "./name.js";
export { encodeNameConstraints, parseNameConstraints } from "./name-constraints.js";
export type { NameConstraintFields, NameConstraints, NameSubtrees } from "./name-constraints.js";
export { encodeOcspCertId } from "./ocsp-cert-id.js";
export type { OcspCertId, OcspCertIdFields, OcspHash } from "./ocsp-cert-id.js";
export { encodeOcspRequest, MAX_OCSP_REQUEST_BYTES, parseOcspRequest } from "./ocsp-request.js";
export type { OcspRequest, OcspRequestFields } from "./ocsp-request.js";
export { assembleOcspResponse, buildOcspResponseData, encodeOcspError } from "./ocsp-response.js";
export type {
  OcspCertStatus,
  OcspErrorStatus,
  OcspResponderId,
  OcspResponseDataFields,
  OcspSingleResponse,
} from "./ocsp-response.js";
export { OID } from "./oids.js";
export type { OtherName } from "./other-name.js";
export { assertServerLeaf, parseClientLeaf, parseNodeLeaf } from "./peer-identity.js";
export type {
  ClientIdentity,
  ClientLeafExpectation,
  NodeIdentity,
  OperatorIdentity,
  ServerLeafExpectation,
} from "./peer-identity.js";
export { decodePem, decodePemCertificates, encodePem, encodePemBytes } from "./pem.js";
export type { PemBlock, PemOptions } from "./pem.js";
export { parsePublicKey, subjectPublicKeyBits } from "./public-key.js";
export type { NamedCurve, PublicKeyInfo } from "./public-key.js";
export { REVOCATION_REASONS, revocationReason } from "./revocation-reason.js";
export type { RevocationReason } from "./revocation-reason.js";
export { encodeRevokedCertificate } from "./revoked-certificate.js";
export type { RevokedCertificate, RevokedCertificateFields } from "./revoked-certificate.js";
export { encodeSignatureAlgorithm } from "./signature-algorithm.js";
export type {
  RsaPssAlgorithm,
  SignatureAlgorithm,
  SignatureAlgorithmIdentifier,
} from "./signature-algorithm.js";
export { encodeSubjectAlternativeName } from "./subject-alternative-name.js";
export type { SubjectAlternativeName } from "./subject-alternative-name.js";
export { encodeTime } from "./time.js";
