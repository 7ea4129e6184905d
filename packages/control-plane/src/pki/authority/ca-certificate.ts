import { RksError } from "@rk8s/protocol";
import {
  encodeBasicConstraints,
  encodeExtension,
  encodeKeyUsage,
  encodeNameConstraints,
  encodeSubjectAlternativeName,
  type NameSubtrees,
  OID,
  parseIpAddress,
  parseIpRange,
} from "@rk8s/x509";
import type { MountInit } from "../../vault/backend.js";
import { backdated } from "../issuance/validity.js";
import { toDnsName } from "../name-rules.js";
import { requireDate } from "../role/date-text.js";
import { parseOtherSan } from "../role/other-sans.js";
import { encodeSubject } from "../subject.js";
import type { CaCertificateFields, CaNames } from "./ca-fields.js";

const CA_KEY_USAGE = encodeKeyUsage(["keyCertSign", "cRLSign"]);
const MAX_NAMES = 250;
const MAX_CONTENT_BYTES = 16_384;
const EMAIL = /^[!-?A-~]{1,100}@[!-?A-~]{1,253}$/;
/** More than any hierarchy has, and what fits into one byte. */
const MAX_PATH_LENGTH = 255;
/** The last moment that a certificate can name (RFC 5280 §4.1.2.5). */
const LAST_MOMENT_MS = Date.UTC(9999, 11, 31, 23, 59, 59);

/** DER Name of a CA. @throws {RksError} INPUT_INVALID for text that no name can hold. */
export function caSubject(fields: CaNames): Uint8Array {
  return encodeSubject(fields, fields.common_name, { serialNumber: fields.serial_number });
}

/**
 * The alternative names of a CA as an extension, none when there are no names. The common name is among them unless it
 * is excluded or no host name or email address.
 * @throws {RksError} INPUT_INVALID for a name that cannot be written.
 */
export function caNamesExtension(fields: CaNames, subject: Uint8Array): Uint8Array[] {
  const { common_name: commonName } = fields;
  const texts = new Set(fields.alt_names);
  const ownName = commonName.includes("@") || toDnsName(commonName) !== undefined;
  if (commonName !== "" && !fields.exclude_cn_from_sans && ownName) texts.add(commonName);
  const all = [...texts];
  const names = {
    dnsNames: all.filter((name) => !name.includes("@")).map(dnsName),
    emails: all.filter((name) => name.includes("@")).map(email),
    ipAddresses: fields.ip_sans.map(ipAddress),
    uris: fields.uri_sans.map(uri),
    utf8OtherNames: fields.other_sans.map((text) => parseOtherSan("other_sans", text)),
  };
  const count = Object.values(names).reduce((sum, { length }) => sum + length, 0);
  if (count === 0) return [];
  if (count > MAX_NAMES) {
    throw refused(`${count} names are more than the limit of ${MAX_NAMES}`, "Give fewer names.");
  }
  const value = encodeSubjectAlternativeName(names);
  // An empty subject makes the names critical (RFC 5280 §4.2.1.6).
  return [encodeExtension({ oid: OID.subjectAltName, critical: subject.length === 2, value })];
}

/**
 * What makes a certificate a CA's: basic constraints, key usage, name constraints.
 * @throws {RksError} INPUT_INVALID for constraints that cannot be written.
 */
export function caExtensions(fields: CaCertificateFields, pathLength: number | undefined): Uint8Array[] {
  const extensions = [encodeBasicConstraints({ isCa: true, pathLength }), CA_KEY_USAGE];
  const permitted = subtrees({
    dnsDomains: fields.permitted_dns_domains,
    emails: fields.permitted_email_addresses,
    ipRanges: fields.permitted_ip_ranges,
    uriDomains: fields.permitted_uri_domains,
  });
  const excluded = subtrees({
    dnsDomains: fields.excluded_dns_domains,
    emails: fields.excluded_email_addresses,
    ipRanges: fields.excluded_ip_ranges,
    uriDomains: fields.excluded_uri_domains,
  });
  if (permitted === undefined && excluded === undefined) return extensions;
  extensions.push(
    encodeNameConstraints({
      ...(permitted === undefined ? {} : { permitted }),
      ...(excluded === undefined ? {} : { excluded }),
    }),
  );
  return extensions;
}

/** The path length that was asked for; undefined stands for no limit. @throws {RksError} INPUT_INVALID. */
export function requestedPathLength(maxPathLength: number): number | undefined {
  if (maxPathLength === -1) return undefined;
  if (maxPathLength >= 0 && maxPathLength <= MAX_PATH_LENGTH) return maxPathLength;
  throw refused(
    `max_path_length ${maxPathLength} is not between -1 and ${MAX_PATH_LENGTH}`,
    "Leave it out, or write -1, for no limit.",
  );
}

/** When a CA certificate begins and ends. Milliseconds. */
export interface CaLifetime {
  readonly notBefore: number;
  readonly notAfter: number;
  readonly warnings: readonly string[];
}

/**
 * Decide a CA's lifetime: `ttl`, or the mount's default, cut to its maximum with a warning; or `not_after` as it is.
 * @throws {RksError} INPUT_INVALID for dates that are none or in the wrong order, or `ttl` and `not_after` together.
 */
export function caLifetime(
  fields: CaCertificateFields,
  context: { readonly mount: MountInit; readonly now: number },
): CaLifetime {
  const { mount, now } = context;
  const notBefore =
    fields.not_before === ""
      ? backdated(now, fields.not_before_duration)
      : requireDate("not_before", fields.not_before);
  if (fields.not_after !== "") {
    if (fields.ttl !== 0) {
      throw refused("ttl and not_after are both given", "Give only one of ttl and not_after.");
    }
    const notAfter = requireDate("not_after", fields.not_after);
    if (notAfter <= notBefore || notAfter <= now) {
      throw refused(
        `not_after ${new Date(notAfter).toISOString()} is in the past or before not_before`,
        "Give a later date.",
      );
    }
    return { notBefore, notAfter, warnings: [] };
  }
  const wanted = fields.ttl || mount.defaultTtlSeconds;
  const ttl = Math.min(wanted, mount.maxTtlSeconds);
  const notAfter = Math.min(now + ttl * 1000, LAST_MOMENT_MS);
  if (notAfter <= notBefore) {
    throw refused("not_before is after the certificate's end", "Give a longer ttl, or not_after.");
  }
  const warnings =
    ttl < wanted
      ? [
          `TTL of ${wanted} seconds is longer than permitted maxTTL of ${ttl} seconds, so maxTTL is being used`,
        ]
      : [];
  return { notBefore, notAfter, warnings };
}

/**
 * Refuse what would make every chain and every answer with this CA large.
 * @throws {RksError} INPUT_INVALID.
 */
export function assertModestSize(subject: Uint8Array, extensions: readonly Uint8Array[]): void {
  const bytes = extensions.reduce((sum, { length }) => sum + length, subject.length);
  if (bytes <= MAX_CONTENT_BYTES) return;
  throw refused(
    `names and constraints of ${bytes} bytes are more than ${MAX_CONTENT_BYTES}`,
    "Give fewer or shorter ones.",
  );
}

function subtrees(
  lists: Readonly<Record<keyof NameSubtrees, readonly string[]>>,
): Partial<NameSubtrees> | undefined {
  if (Object.values(lists).every((list) => list.length === 0)) return undefined;
  const wrong =
    lists.ipRanges.find((range) => parseIpRange(range) === undefined) ??
    lists.dnsDomains.find((domain) => !isDomain(domain)) ??
    lists.uriDomains.find((domain) => !isDomain(domain)) ??
    lists.emails.find((text) => !isDomain(text) && !EMAIL.test(text));
  if (wrong !== undefined) {
    throw refused(
      `${JSON.stringify(wrong.slice(0, 260))} is not a constraint on names`,
      "Write domains as example.org or .example.org, without * or scheme, and ranges as 10.0.0.0/8.",
    );
  }
  return {
    dnsDomains: [...lists.dnsDomains],
    emails: [...lists.emails],
    ipRanges: [...lists.ipRanges],
    uriDomains: [...lists.uriDomains],
  };
}

/** A host name, or a dot and a host name for everything below it (RFC 5280 §4.2.1.10). */
function isDomain(text: string): boolean {
  const host = text.startsWith(".") ? text.slice(1) : text;
  return toDnsName(host) === host && !host.includes("*");
}

function dnsName(name: string): string {
  const host = toDnsName(name);
  if (host !== undefined) return host;
  throw refused(
    `alternative name ${JSON.stringify(name.slice(0, 260))} is not a DNS name`,
    "Use letters, digits, inner hyphens and dots.",
  );
}

function email(text: string): string {
  if (EMAIL.test(text)) return text;
  throw refused(
    `${JSON.stringify(text.slice(0, 260))} is not an email address in ASCII`,
    "Write it as name@example.org.",
  );
}

function uri(text: string): string {
  if (/^[a-z][a-z0-9+.-]*:[!-~]{1,1000}$/i.test(text)) return text;
  throw refused(
    `${JSON.stringify(text.slice(0, 260))} is not a URI in ASCII`,
    "Write it with its scheme, as https://example.org/.",
  );
}

function ipAddress(text: string): string {
  if (parseIpAddress(text) !== undefined) return text;
  throw refused(
    `${JSON.stringify(text.slice(0, 80))} is not an IP address`,
    "Write IPv4 as 10.0.0.1 and IPv6 as 2001:db8::1, without port or prefix length.",
  );
}

function refused(problem: string, suggestion: string): RksError {
  return new RksError("INPUT_INVALID", problem, { suggestion });
}
