import { hex } from "@rk8s/protocol";
import { type Extension, nameValues, OID, TAG } from "@rk8s/x509";

import { matchesGlob } from "../glob.js";
import type { ReadCertificate } from "./client-certificate.js";

/** What a certificate must say besides being trusted; an empty list asks for nothing. Patterns with `*`. */
export interface NameRules {
  /** Common name or any DNS or email name. */
  readonly names: readonly string[];
  readonly commonNames: readonly string[];
  readonly dnsSans: readonly string[];
  readonly emailSans: readonly string[];
  readonly uriSans: readonly string[];
  readonly organizationalUnits: readonly string[];
  /** `oid:pattern` of its text, or `hex:oid:pattern` of its bytes. All of them. */
  readonly extensions: readonly string[];
}

const REQUIRED_EXTENSION = /^(hex:)?([0-2](?:\.\d{1,40}){1,60}):(.*)$/s;
const TEXT_TAGS: ReadonlySet<number> = new Set([TAG.UTF8_STRING, TAG.PRINTABLE_STRING, TAG.IA5_STRING]);

/** Whether a certificate fits every list of the rules. */
export function fitsNameRules(certificate: ReadCertificate, rules: NameRules): boolean {
  const { dnsNames, emails, uris, subject } = certificate;
  const commonNames = nameValues(subject, OID.commonName);
  return (
    fitsOne(rules.names, [...commonNames, ...dnsNames, ...emails]) &&
    fitsOne(rules.commonNames, commonNames) &&
    fitsOne(rules.dnsSans, dnsNames) &&
    fitsOne(rules.emailSans, emails) &&
    fitsOne(rules.uriSans, uris) &&
    fitsOne(rules.organizationalUnits, nameValues(subject, OID.organizationalUnitName)) &&
    rules.extensions.every((rule) => fitsExtension(certificate, rule))
  );
}

/** Whether a rule about an extension can be understood. */
export function isExtensionRule(rule: string): boolean {
  return REQUIRED_EXTENSION.test(rule);
}

/** The value of an extension that is one text; undefined when there is none or it is something else. */
export function extensionText(certificate: ReadCertificate, oid: string): string | undefined {
  const extension = certificate.extensions.find((one) => one.oid === oid);
  return extension === undefined ? undefined : textOf(extension);
}

function fitsOne(patterns: readonly string[], values: readonly string[]): boolean {
  return (
    patterns.length === 0 || values.some((value) => patterns.some((pattern) => matchesGlob(pattern, value)))
  );
}

function fitsExtension(certificate: ReadCertificate, rule: string): boolean {
  const [, asHex, oid, pattern = ""] = REQUIRED_EXTENSION.exec(rule) ?? [];
  const extension = certificate.extensions.find((one) => one.oid === oid);
  if (extension === undefined) return false;
  const value = asHex === undefined ? textOf(extension) : hex(extension.value);
  return value !== undefined && matchesGlob(pattern, value);
}

/** One string and nothing behind it, of less than 64 KB (X.690 §8.1.3). */
function textOf({ value }: Extension): string | undefined {
  const [tag = 0, first = 0] = value;
  const head = first < 0x80 ? 2 : first === 0x81 ? 3 : first === 0x82 ? 4 : 0;
  if (!TEXT_TAGS.has(tag) || head === 0) return undefined;
  const length = head === 2 ? first : Number.parseInt(hex(value.subarray(2, head)), 16);
  return value.length === head + length ? Buffer.from(value.subarray(head)).toString("utf8") : undefined;
}
