export { assembleCertificate, buildTbsCertificate, parseCertificate } from "./certificate.js";
export type { Certificate, TbsCertificateFields } from "./certificate.js";
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
  encodeAuthorityKeyIdentifier,
  encodeBasicConstraints,
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeKeyUsage,
  encodeSubjectKeyIdentifier,
  KEY_USAGES,
} from "./extension.js";
export type { BasicConstraints, Extension, KeyUsage } from "./extension.js";
export type { ExtensionValues } from "./extension-values.js";
export { formatIpAddress, parseIpAddress } from "./ip-address.js";
export { encodeName, encodeRdnSequence, formatName, nameValues } from "./name.js";
export type { Name, NameAttribute } from "./name.js";
export { OID } from "./oids.js";
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
export { parsePublicKey } from "./public-key.js";
export type { NamedCurve, PublicKeyInfo } from "./public-key.js";
export { encodeSignatureAlgorithm } from "./signature-algorithm.js";
export type { SignatureAlgorithm, SignatureAlgorithmIdentifier } from "./signature-algorithm.js";
export { encodeSubjectAlternativeName } from "./subject-alternative-name.js";
export type { SubjectAlternativeName } from "./subject-alternative-name.js";
export { encodeTime } from "./time.js";
