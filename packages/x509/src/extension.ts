import { contextConstructed, contextPrimitive, type DerErrorCode, DerReader, TAG } from "./der-reader.js";
import {
  encodeBitString,
  encodeBoolean,
  encodeContextPrimitive,
  encodeOctetString,
  encodeOid,
  encodeSequence,
  encodeSmallInteger,
} from "./der-writer.js";
import { OID } from "./oids.js";

/** One extension, its value not yet looked into (RFC 5280 §4.2). */
export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/** Key usages in the order of their bits (RFC 5280 §4.2.1.3). */
export const KEY_USAGES = [
  "digitalSignature",
  "nonRepudiation",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
] as const;
export type KeyUsage = (typeof KEY_USAGES)[number];

export interface BasicConstraints {
  readonly isCa: boolean;
  readonly pathLength: number | undefined;
}

const MAX_EXTENSIONS = 64;
const MAX_PATH_LENGTH = 255;
const MAX_EXTENDED_KEY_USAGES = 64;

/** Read SEQUENCE OF Extension. The same extension twice is refused (RFC 5280 §4.2). */
export function readExtensions(reader: DerReader): Extension[] {
  const sequence = reader.sequence();
  if (sequence.done) sequence.refuse("its list of extensions is empty");
  const extensions: Extension[] = [];
  const seen = new Set<string>();
  while (!sequence.done) {
    const fields = sequence.sequence();
    const oid = fields.oid();
    const critical = fields.nextTag === TAG.BOOLEAN ? fields.boolean() : false;
    const value = fields.octetString();
    fields.finish();
    if (seen.has(oid)) fields.refuse(`it has the extension ${oid} twice`);
    if (seen.add(oid).size > MAX_EXTENSIONS) fields.refuse(`it has more than ${MAX_EXTENSIONS} extensions`);
    extensions.push({ oid, critical, value });
  }
  return extensions;
}

/** What a function that looks into one extension of a list may be told. */
export interface ExtensionOptions {
  /** Code of a failure; default CERTIFICATE_INVALID. */
  readonly code?: DerErrorCode;
}

/** A reader over the value of one extension; undefined when the list does not have it. */
export function openExtension(
  extensions: readonly Extension[],
  oid: string,
  options: ExtensionOptions,
): DerReader | undefined {
  const extension = extensions.find((candidate) => candidate.oid === oid);
  return extension === undefined
    ? undefined
    : DerReader.over(extension.value, { code: options.code ?? "CERTIFICATE_INVALID" });
}

/** Encode one Extension; `critical` is written only when true. */
export function encodeExtension(extension: Extension): Uint8Array {
  const value = encodeOctetString(extension.value);
  const oid = encodeOid(extension.oid);
  return extension.critical ? encodeSequence(oid, encodeBoolean(true), value) : encodeSequence(oid, value);
}

export function readBasicConstraints(reader: DerReader): BasicConstraints {
  const fields = reader.sequence();
  reader.finish();
  const isCa = fields.nextTag === TAG.BOOLEAN ? fields.boolean() : false;
  const pathLength = fields.done ? undefined : fields.smallInteger(MAX_PATH_LENGTH);
  fields.finish();
  if (pathLength !== undefined && !isCa) fields.refuse("it has a path length without being a CA");
  return { isCa, pathLength };
}

/** BasicConstraints, critical (RFC 5280 §4.2.1.9). */
export function encodeBasicConstraints(constraints: BasicConstraints): Uint8Array {
  const parts = constraints.isCa ? [encodeBoolean(true)] : [];
  if (constraints.pathLength !== undefined) parts.push(encodeSmallInteger(constraints.pathLength));
  return encodeExtension({ oid: OID.basicConstraints, critical: true, value: encodeSequence(...parts) });
}

export function readKeyUsage(reader: DerReader): KeyUsage[] {
  const { bytes } = reader.bitString();
  reader.finish();
  if (bytes.length > 2) reader.refuse("its key usage has more than 9 bits");
  return KEY_USAGES.filter((_, bit) => (((bytes[bit >> 3] ?? 0) << (bit & 7)) & 0x80) !== 0);
}

/** KeyUsage, critical, without trailing zero bits (X.690 §11.2.2). */
export function encodeKeyUsage(usages: readonly KeyUsage[]): Uint8Array {
  const bits = usages.map((usage) => KEY_USAGES.indexOf(usage));
  const last = Math.max(...bits);
  const bytes = new Uint8Array((last >> 3) + 1);
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return encodeExtension({
    oid: OID.keyUsage,
    critical: true,
    value: encodeBitString(bytes, 7 - (last & 7)),
  });
}

export function readExtendedKeyUsage(reader: DerReader): string[] {
  const sequence = reader.sequence();
  reader.finish();
  if (sequence.done) sequence.refuse("its extended key usage is empty");
  const oids: string[] = [];
  while (!sequence.done) {
    if (oids.push(sequence.oid()) > MAX_EXTENDED_KEY_USAGES)
      sequence.refuse("it has too many extended key usages");
  }
  return oids;
}

/** ExtendedKeyUsage, not critical (RFC 5280 §4.2.1.12). */
export function encodeExtendedKeyUsage(oids: readonly string[]): Uint8Array {
  return encodeExtension({
    oid: OID.extendedKeyUsage,
    critical: false,
    value: encodeSequence(...oids.map(encodeOid)),
  });
}

export function readSubjectKeyIdentifier(reader: DerReader): Uint8Array {
  const id = reader.octetString();
  reader.finish();
  return id;
}

export function encodeSubjectKeyIdentifier(id: Uint8Array): Uint8Array {
  return encodeExtension({ oid: OID.subjectKeyIdentifier, critical: false, value: encodeOctetString(id) });
}

/** The key identifier; undefined when the extension names the issuer in another way (RFC 5280 §4.2.1.1). */
export function readAuthorityKeyIdentifier(reader: DerReader): Uint8Array | undefined {
  const fields = reader.sequence();
  reader.finish();
  const id = fields.nextTag === contextPrimitive(0) ? fields.content(contextPrimitive(0)) : undefined;
  if (fields.nextTag === contextConstructed(1)) fields.element();
  if (fields.nextTag === contextPrimitive(2)) fields.element();
  fields.finish();
  return id;
}

export function encodeAuthorityKeyIdentifier(id: Uint8Array): Uint8Array {
  const value = encodeSequence(encodeContextPrimitive(0, id));
  return encodeExtension({ oid: OID.authorityKeyIdentifier, critical: false, value });
}
