import { hex } from "@rk8s/protocol";
import { type DerReader, TAG } from "./der-reader.js";
import { encodeEnumerated, encodeSequence, encodeUnsignedInteger } from "./der-writer.js";
import { encodeExtension, readExtensions } from "./extension.js";
import { OID } from "./oids.js";
import { REVOCATION_REASONS, revocationReason, type RevocationReason } from "./revocation-reason.js";
import { encodeTime, readTime } from "./time.js";

/** What goes into an entry of a CRL. */
export interface RevokedCertificateFields {
  /** Unsigned, big-endian, as in the certificate. */
  readonly serialNumber: Uint8Array;
  /** Milliseconds since the epoch; parts of a second are cut off. */
  readonly revocationTimeMs: number;
  /** Left out of the entry when it is `unspecified` (RFC 5280 §5.3.1). */
  readonly reason?: RevocationReason | undefined;
}

/** An entry of a CRL as read (RFC 5280 §5.1.2.6). */
export interface RevokedCertificate {
  /** As `Certificate.serialNumber`: lower-case hexadecimal digits without the sign byte. */
  readonly serialNumber: string;
  readonly revocationTimeMs: number;
  /** `unspecified` when the entry does not say. */
  readonly reason: RevocationReason;
}

/** RFC 5280 §5.1.2.6 refers to §4.1.2.2; some CAs of old use more than its 20 bytes. */
const MAX_SERIAL_BYTES = 64;
const MAX_REASON = 10;

/** The list of extensions of an entry that says why, made once. */
const REASON_EXTENSIONS: ReadonlyMap<RevocationReason, Uint8Array> = new Map(
  Object.entries(REVOCATION_REASONS)
    .filter(([reason]) => reason !== "unspecified")
    .map(([reason, code]) => [
      reason as RevocationReason,
      encodeSequence(
        encodeExtension({ oid: OID.reasonCode, critical: false, value: encodeEnumerated(code) }),
      ),
    ]),
);

/**
 * Encode one entry of a CRL. Entries are independent of each other and of the list: encode each once, when its
 * certificate is revoked, and append it to the rest.
 * @throws {TypeError} when the serial number is not positive, the date cannot be held or the reason is none.
 */
export function encodeRevokedCertificate(fields: RevokedCertificateFields): Uint8Array {
  if (fields.serialNumber.every((byte) => byte === 0)) throw new TypeError("a serial number is positive");
  const serial = encodeUnsignedInteger(fields.serialNumber);
  const time = encodeTime(fields.revocationTimeMs);
  const { reason = "unspecified" } = fields;
  const why = REASON_EXTENSIONS.get(reason);
  if (why === undefined && reason !== "unspecified")
    throw new TypeError(`"${reason}" is not a reason of a revocation`);
  return why === undefined ? encodeSequence(serial, time) : encodeSequence(serial, time, why);
}

/**
 * Read one entry. A critical extension is refused: it may say that the entry is about another issuer's certificate
 * (RFC 5280 §5.3.3).
 */
export function readRevokedCertificate(reader: DerReader): RevokedCertificate {
  const fields = reader.sequence();
  const serial = fields.integer();
  if (serial.length > MAX_SERIAL_BYTES) fields.refuse(`a serial number has ${serial.length} bytes`);
  const revocationTimeMs = readTime(fields);
  let reason: RevocationReason = "unspecified";
  for (const { oid, critical, value } of fields.done ? [] : readExtensions(fields)) {
    if (oid === OID.reasonCode) reason = readReason(fields.nested(value));
    else if (critical) fields.refuse(`an entry has the critical extension ${oid}, which is not understood`);
  }
  fields.finish();
  const isPadded = serial[0] === 0 && serial.length > 1;
  return { serialNumber: hex(isPadded ? serial.subarray(1) : serial), revocationTimeMs, reason };
}

function readReason(reader: DerReader): RevocationReason {
  const code = reader.smallInteger(MAX_REASON, TAG.ENUMERATED);
  reader.finish();
  return revocationReason(code) ?? reader.refuse(`"${code}" is not a reason of a revocation`);
}
