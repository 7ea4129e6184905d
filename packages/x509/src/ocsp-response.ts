import {
  encodeBitString,
  encodeContextConstructed,
  encodeContextPrimitive,
  encodeEnumerated,
  encodeOctetString,
  encodeOid,
  encodeSequence,
} from "./der-writer.js";
import { encodeOcspNonce } from "./ocsp-request.js";
import { OID } from "./oids.js";
import { REVOCATION_REASONS, type RevocationReason } from "./revocation-reason.js";
import { encodeGeneralizedTime } from "./time.js";

/** What an answer says about one certificate (RFC 6960 §4.2.1). */
export type OcspCertStatus =
  | { readonly status: "good" }
  | { readonly status: "unknown" }
  | {
      readonly status: "revoked";
      readonly revocationTimeMs: number;
      /** Left out of the answer when it is `unspecified`. */
      readonly reason?: RevocationReason | undefined;
    };

/** The answer about one certificate. Dates are milliseconds since the epoch; parts of a second are cut off. */
export type OcspSingleResponse = OcspCertStatus & {
  /** DER CertID of the question, byte for byte. */
  readonly certId: Uint8Array;
  readonly thisUpdate: number;
  /** Without it newer information is always available. */
  readonly nextUpdate?: number | undefined;
};

/** Who answers: SHA-1 of the public key's bits (`subjectPublicKeyBits`), or the DER Name. */
export type OcspResponderId = { readonly keyHash: Uint8Array } | { readonly name: Uint8Array };

/** What goes into a ResponseData. */
export interface OcspResponseDataFields {
  readonly responderId: OcspResponderId;
  readonly producedAt: number;
  readonly responses: readonly OcspSingleResponse[];
  /** The request's. */
  readonly nonce?: Uint8Array | undefined;
}

/** OCSPResponseStatus of answers without content and thus without a signature (RFC 6960 §4.2.1). */
const ERROR_STATUSES = {
  malformedRequest: 1,
  internalError: 2,
  tryLater: 3,
  sigRequired: 5,
  unauthorized: 6,
} as const;
export type OcspErrorStatus = keyof typeof ERROR_STATUSES;

const SHA1_BYTES = 20;
const SUCCESSFUL = encodeEnumerated(0);
const BASIC = encodeOid(OID.ocspBasic);
const GOOD = encodeContextPrimitive(0, new Uint8Array());
const UNKNOWN = encodeContextPrimitive(2, new Uint8Array());

/**
 * Encode a ResponseData, the part of an answer that is signed (RFC 6960 §4.2.1).
 * @throws {TypeError} without any response, for a key hash that is not of 20 bytes, a nonce or a date that cannot be held.
 */
export function buildOcspResponseData(fields: OcspResponseDataFields): Uint8Array {
  if (fields.responses.length === 0) throw new TypeError("an OCSP answer needs at least one response");
  const parts = [
    encodeResponderId(fields.responderId),
    encodeGeneralizedTime(fields.producedAt),
    encodeSequence(...fields.responses.map(encodeSingleResponse)),
  ];
  if (fields.nonce !== undefined)
    parts.push(encodeContextConstructed(1, encodeSequence(encodeOcspNonce(fields.nonce))));
  return encodeSequence(...parts);
}

/**
 * Put ResponseData, AlgorithmIdentifier and signature together to an OCSPResponse `successful`. `certificates` (DER) are
 * what a client needs besides the issuer's, a delegated responder's first; most answers have none.
 */
export function assembleOcspResponse(
  responseData: Uint8Array,
  signatureAlgorithm: Uint8Array,
  signature: Uint8Array,
  certificates: readonly Uint8Array[] = [],
): Uint8Array {
  const parts = [responseData, signatureAlgorithm, encodeBitString(signature)];
  if (certificates.length > 0) parts.push(encodeContextConstructed(0, encodeSequence(...certificates)));
  const basic = encodeOctetString(encodeSequence(...parts));
  return encodeSequence(SUCCESSFUL, encodeContextConstructed(0, encodeSequence(BASIC, basic)));
}

/** An OCSPResponse that says why there is no answer; it is never signed. */
export function encodeOcspError(status: OcspErrorStatus): Uint8Array {
  return encodeSequence(encodeEnumerated(ERROR_STATUSES[status]));
}

function encodeResponderId(id: OcspResponderId): Uint8Array {
  if ("name" in id) return encodeContextConstructed(1, id.name);
  if (id.keyHash.length !== SHA1_BYTES)
    throw new TypeError(`a responder's key hash has ${SHA1_BYTES} bytes (SHA-1)`);
  return encodeContextConstructed(2, encodeOctetString(id.keyHash));
}

function encodeSingleResponse(response: OcspSingleResponse): Uint8Array {
  const parts = [response.certId, encodeStatus(response), encodeGeneralizedTime(response.thisUpdate)];
  if (response.nextUpdate !== undefined)
    parts.push(encodeContextConstructed(0, encodeGeneralizedTime(response.nextUpdate)));
  return encodeSequence(...parts);
}

function encodeStatus(response: OcspCertStatus): Uint8Array {
  if (response.status === "good") return GOOD;
  if (response.status === "unknown") return UNKNOWN;
  const time = encodeGeneralizedTime(response.revocationTimeMs);
  const { reason = "unspecified" } = response;
  return reason === "unspecified"
    ? encodeContextConstructed(1, time)
    : encodeContextConstructed(
        1,
        time,
        encodeContextConstructed(0, encodeEnumerated(REVOCATION_REASONS[reason])),
      );
}
