import { fromUtf8 } from "@rk8s/protocol";
import { type DerReader, TAG } from "./der-reader.js";
import { encodeIa5String, encodeOid, encodeSequence, encodeUtf8String } from "./der-writer.js";
import { encodeExtension, type Extension, type ExtensionOptions, openExtension } from "./extension.js";
import { OID } from "./oids.js";

/** A policy that a certificate was issued under (RFC 5280 §4.2.1.4). */
export interface CertificatePolicy {
  /** Object identifier in dotted form. */
  readonly oid: string;
  /** URI of the certification practice statement. */
  readonly cps?: string | undefined;
  /** Text to show to people: the notice's explicitText. */
  readonly notice?: string | undefined;
}

const MAX_POLICIES = 100;
const MAX_QUALIFIERS = 16;
/** RFC 5280 §4.2.1.4: explicitText has at most 200 characters. */
const MAX_NOTICE_LENGTH = 200;
const ASCII_END = 0x80;

/**
 * CertificatePolicies, not critical.
 * @throws {TypeError} without any policy, with one twice, for an oid that is none, a CPS that is not ASCII or a notice of
 * more than 200 characters.
 */
export function encodeCertificatePolicies(policies: readonly CertificatePolicy[]): Uint8Array {
  if (policies.length === 0) throw new TypeError("certificate policies need at least one policy");
  if (new Set(policies.map(({ oid }) => oid)).size !== policies.length)
    throw new TypeError("a certificate policy appears twice");
  const value = encodeSequence(...policies.map(encodePolicy));
  return encodeExtension({ oid: OID.certificatePolicies, critical: false, value });
}

/**
 * Read CertificatePolicies from a list of extensions; undefined when it is not there. Qualifiers of other kinds, and the
 * references of a notice, are stepped over; of several of one kind the first counts.
 * @throws {RksError} CERTIFICATE_INVALID, or the given code, when the extension breaks the grammar.
 */
export function parseCertificatePolicies(
  extensions: readonly Extension[],
  options: ExtensionOptions = {},
): CertificatePolicy[] | undefined {
  const reader = openExtension(extensions, OID.certificatePolicies, options);
  if (reader === undefined) return undefined;
  const list = reader.sequence();
  reader.finish();
  if (list.done) list.refuse("its list of policies is empty");
  const policies: CertificatePolicy[] = [];
  while (!list.done) {
    if (policies.length === MAX_POLICIES) list.refuse(`it has more than ${MAX_POLICIES} policies`);
    const fields = list.sequence();
    const oid = fields.oid();
    const qualifiers = fields.done ? undefined : fields.sequence();
    fields.finish();
    policies.push({ oid, ...(qualifiers === undefined ? {} : readQualifiers(qualifiers)) });
  }
  return policies;
}

function encodePolicy({ oid, cps, notice }: CertificatePolicy): Uint8Array {
  const qualifiers: Uint8Array[] = [];
  if (cps !== undefined) qualifiers.push(encodeSequence(encodeOid(OID.cpsQualifier), encodeIa5String(cps)));
  if (notice !== undefined) {
    if (notice === "" || notice.length > MAX_NOTICE_LENGTH)
      throw new TypeError(`a policy's notice has 1 to ${MAX_NOTICE_LENGTH} characters`);
    const userNotice = encodeSequence(encodeUtf8String(notice));
    qualifiers.push(encodeSequence(encodeOid(OID.userNoticeQualifier), userNotice));
  }
  return qualifiers.length === 0
    ? encodeSequence(encodeOid(oid))
    : encodeSequence(encodeOid(oid), encodeSequence(...qualifiers));
}

function readQualifiers(list: DerReader): Pick<CertificatePolicy, "cps" | "notice"> {
  let cps: string | undefined;
  let notice: string | undefined;
  for (let count = 1; !list.done; count++) {
    if (count > MAX_QUALIFIERS) list.refuse(`a policy has more than ${MAX_QUALIFIERS} qualifiers`);
    const qualifier = list.sequence();
    const kind = qualifier.oid();
    if (kind === OID.cpsQualifier) cps ??= readText(qualifier);
    else if (kind === OID.userNoticeQualifier) notice ??= readNotice(qualifier.sequence());
    else qualifier.element();
    qualifier.finish();
  }
  return { cps, notice };
}

function readNotice(fields: DerReader): string | undefined {
  if (fields.nextTag === TAG.SEQUENCE) fields.element();
  const text = fields.done ? undefined : readText(fields);
  fields.finish();
  return text;
}

/** DisplayText and IA5String; other string types are kept out of the result. */
function readText(reader: DerReader): string | undefined {
  const tag = reader.nextTag;
  const bytes = reader.content(tag ?? 0);
  if (tag !== TAG.UTF8_STRING && (tag !== TAG.IA5_STRING || bytes.some((byte) => byte >= ASCII_END)))
    return undefined;
  try {
    return fromUtf8(bytes);
  } catch {
    return reader.refuse("a UTF8String is not UTF-8");
  }
}
