import { contextConstructed, DerReader } from "./der-reader.js";
import { encodeContextConstructed, encodeOctetString, encodeSequence } from "./der-writer.js";
import { encodeExtension, readExtensions } from "./extension.js";
import { type OcspCertId, readOcspCertId } from "./ocsp-cert-id.js";
import { OID } from "./oids.js";

/** An OCSP request as read (RFC 6960 §4.1). Byte fields share memory with the input. */
export interface OcspRequest {
  /** At least one, in order. */
  readonly certIds: readonly OcspCertId[];
  /** To be repeated in the answer (RFC 9654); undefined when there is none. */
  readonly nonce: Uint8Array | undefined;
  /** Critical extensions, of the request or of one of its parts, that rk8s does not understand (RFC 6960 §4.4). */
  readonly unknownCriticalExtensions: readonly string[];
}

/** What goes into an OCSP request. */
export interface OcspRequestFields {
  /** DER CertIDs; see `encodeOcspCertId`. */
  readonly certIds: readonly Uint8Array[];
  readonly nonce?: Uint8Array | undefined;
}

/** 100 questions with SHA-512 take 17 KB; a signature with its certificates some more. */
export const MAX_OCSP_REQUEST_BYTES = 32_768;
/** Clients ask about one certificate, some about a chain. */
const MAX_QUESTIONS = 100;
/** RFC 9654 §2.1; RFC 8954 had 32. */
const MAX_NONCE_BYTES = 128;

/**
 * Parse one DER OCSPRequest. A signature and the requestor's name are read over: answers are for everybody.
 * @throws {RksError} OCSP_INVALID when it is not strict DER, breaks the grammar, asks about nothing or about more than 100
 * certificates, has a nonce that is not of 1 to 128 bytes or exceeds another bound. The answer to it is `malformedRequest`.
 */
export function parseOcspRequest(der: Uint8Array): OcspRequest {
  const reader = DerReader.over(der, { code: "OCSP_INVALID", maxBytes: MAX_OCSP_REQUEST_BYTES });
  const outer = reader.sequence();
  reader.finish();
  const tbs = outer.sequence();
  if (outer.nextTag === contextConstructed(0)) outer.element();
  outer.finish();

  const version = tbs.enterOptional(contextConstructed(0));
  version?.smallInteger(0);
  version?.finish();
  if (tbs.nextTag === contextConstructed(1)) tbs.element();
  const unknownCriticalExtensions: string[] = [];
  const certIds = readQuestions(tbs.sequence(), unknownCriticalExtensions);
  const nonce = readRequestExtensions(tbs.enterOptional(contextConstructed(2)), unknownCriticalExtensions);
  tbs.finish();
  return { certIds, nonce, unknownCriticalExtensions };
}

/** Encode an OCSPRequest without a signature. @throws {TypeError} without any CertID or with a nonce that is not of 1 to 128 bytes. */
export function encodeOcspRequest(fields: OcspRequestFields): Uint8Array {
  if (fields.certIds.length === 0) throw new TypeError("an OCSP request asks about at least one certificate");
  const list = encodeSequence(...fields.certIds.map((certId) => encodeSequence(certId)));
  return encodeSequence(
    fields.nonce === undefined
      ? encodeSequence(list)
      : encodeSequence(list, encodeContextConstructed(2, encodeSequence(encodeOcspNonce(fields.nonce)))),
  );
}

/** The nonce extension of a request or an answer (RFC 9654 §2.1). @throws {TypeError} when it is not of 1 to 128 bytes. */
export function encodeOcspNonce(nonce: Uint8Array): Uint8Array {
  if (nonce.length === 0 || nonce.length > MAX_NONCE_BYTES)
    throw new TypeError(`a nonce has 1 to ${MAX_NONCE_BYTES} bytes`);
  return encodeExtension({ oid: OID.ocspNonce, critical: false, value: encodeOctetString(nonce) });
}

function readQuestions(list: DerReader, unknownCritical: string[]): OcspCertId[] {
  if (list.done) list.refuse("it asks about no certificate");
  const certIds: OcspCertId[] = [];
  while (!list.done) {
    if (certIds.length === MAX_QUESTIONS)
      list.refuse(`it asks about more than ${MAX_QUESTIONS} certificates`);
    const question = list.sequence();
    certIds.push(readOcspCertId(question));
    const wrapped = question.enterOptional(contextConstructed(0));
    question.finish();
    if (wrapped === undefined) continue;
    for (const { oid, critical } of readExtensions(wrapped)) if (critical) unknownCritical.push(oid);
    wrapped.finish();
  }
  return certIds;
}

function readRequestExtensions(
  wrapped: DerReader | undefined,
  unknownCritical: string[],
): Uint8Array | undefined {
  if (wrapped === undefined) return undefined;
  let nonce: Uint8Array | undefined;
  for (const { oid, critical, value } of readExtensions(wrapped)) {
    if (oid !== OID.ocspNonce) {
      if (critical) unknownCritical.push(oid);
      continue;
    }
    const content = wrapped.nested(value);
    nonce = content.octetString();
    content.finish();
    if (nonce.length === 0 || nonce.length > MAX_NONCE_BYTES)
      wrapped.refuse(`its nonce has ${nonce.length} bytes instead of 1 to ${MAX_NONCE_BYTES}`);
  }
  wrapped.finish();
  return nonce;
}
