import { RksError } from "@rk8s/protocol";
import { type CertificateRequest, nameValues, OID, parseIpAddress, type PublicKeyInfo } from "@rk8s/x509";
import type { CertificateFields } from "./certificate-authority.js";
import { encodeLeafExtensions } from "./leaf-extensions.js";
import type { KeySpec } from "./key-pair.js";
import { assertAlternativeNames, assertCommonName, matchesGlob, toDnsName } from "./name-rules.js";
import type { NamesRequest } from "./requests.js";
import { type PkiRole, roleExtendedKeyUsage, roleKeyUsage } from "./role.js";
import { encodeSubject } from "./subject.js";

/** What decides about a certificate besides role and request. */
export interface IssuanceContext {
  readonly roleName: string;
  /** Milliseconds. */
  readonly now: number;
  /** Bounds of the mount. */
  readonly defaultTtlSeconds: number;
  readonly maxTtlSeconds: number;
  /** The issuer's end, milliseconds. */
  readonly issuerNotAfter: number;
  /** The CSR for `sign`, its signature checked; undefined for `issue`. */
  readonly csr: CertificateRequest | undefined;
}

export interface Issuance {
  /** What the issuer signs, together with a key. */
  readonly leaf: Omit<CertificateFields, "spki">;
  readonly warnings: readonly string[];
}

interface Names {
  readonly dnsNames: string[];
  readonly emails: string[];
  readonly ipAddresses: readonly string[];
  readonly uris: readonly string[];
}

const MAX_NAMES = 250;
const MAX_COMMON_NAME = 253;
const DEFAULT_EC_BITS = 256;
const DEFAULT_RSA_BITS = 2048;

/**
 * Decide by a role what a requested certificate says; Vault's rules, in Vault's order.
 * @throws {RksError} ROLE_REFUSED for names that the role does not allow, INPUT_INVALID for names that are none and for a lifetime
 * beyond the issuer's.
 */
export function decideLeaf(role: PkiRole, request: NamesRequest, context: IssuanceContext): Issuance {
  const { csr, roleName } = context;
  const warnings: string[] = [];
  const commonName = decideCommonName(role, request, csr, warnings);
  if (commonName === "" && role.require_cn) {
    throw new RksError("INPUT_INVALID", `a common name is needed by role "${roleName}"`, {
      suggestion: "Give common_name, or set require_cn=false on the role.",
    });
  }
  const names = decideNames(role, request, csr, warnings);
  if (commonName !== "") assertCommonName(commonName, role, roleName);
  if (commonName !== "" && !request.exclude_cn_from_sans) addCommonName(names, commonName);
  const count = names.dnsNames.length + names.emails.length + names.ipAddresses.length + names.uris.length;
  if (count > MAX_NAMES) {
    throw new RksError("INPUT_INVALID", `${count} names are more than the limit of ${MAX_NAMES}`, {
      suggestion: "Ask for several certificates.",
    });
  }
  const allNames = [...names.dnsNames, ...names.emails];
  assertAlternativeNames(allNames, role, { roleName, allNames });
  assertAddresses(names, role, roleName);
  const subject = encodeSubject(role, commonName);
  const leaf = {
    keyUsage: roleKeyUsage(role),
    extendedKeyUsage: roleExtendedKeyUsage(role),
    names,
    basicConstraints: role.basic_constraints_valid_for_non_ca,
  };
  return {
    leaf: {
      subject,
      ...decideDates(role, request, context, warnings),
      extensions: encodeLeafExtensions(leaf, subject),
      signatureBits: role.signature_bits,
    },
    warnings,
  };
}

/**
 * The key that `issue` makes: the role's, or for roles of type `any` the request's.
 * @throws {RksError} INPUT_INVALID when nobody says which or the size does not fit.
 */
export function decideKey(
  role: PkiRole,
  request: { readonly key_type: string; readonly key_bits: number },
): KeySpec {
  const type = role.key_type === "any" ? request.key_type : role.key_type;
  const bits = role.key_type === "any" ? request.key_bits : role.key_bits;
  if (type === "") {
    throw new RksError("INPUT_INVALID", 'the role\'s key type is "any" and the request names none', {
      suggestion: "Give key_type=ec, ed25519 or rsa.",
    });
  }
  return keySpec(type, bits);
}

/** A key type and size as Vault writes them; size 0 stands for the usual one. @throws {RksError} INPUT_INVALID. */
export function keySpec(type: string, bits: number): KeySpec {
  if (type === "ed25519") return { type };
  if (type === "ec") {
    if (bits === 0) return { type, bits: DEFAULT_EC_BITS };
    if (bits === 256 || bits === 384 || bits === 521) return { type, bits };
  }
  if (type === "rsa") {
    if (bits === 0) return { type, bits: DEFAULT_RSA_BITS };
    if (bits === 2048 || bits === 3072 || bits === 4096) return { type, bits };
  }
  throw new RksError("INPUT_INVALID", `key_bits ${bits} does not fit key type "${type}"`, {
    suggestion: "Use 256, 384 or 521 for ec, 2048, 3072 or 4096 for rsa.",
  });
}

/** A CSR's key must be of the role's type and at least of its size. @throws {RksError} ROLE_REFUSED. */
export function assertKeyAllowed(role: PkiRole, key: PublicKeyInfo, roleName: string): void {
  if (role.key_type === "any") return;
  if (key.algorithm !== role.key_type) {
    throw new RksError(
      "ROLE_REFUSED",
      `a key of type "${key.algorithm}" is not allowed by role "${roleName}": key_type is "${role.key_type}"`,
      {
        suggestion: `Make a key of type ${role.key_type}, or set key_type=any on the role.`,
      },
    );
  }
  const wanted =
    role.key_type === "ed25519"
      ? 0
      : role.key_bits === 0
        ? role.key_type === "ec"
          ? DEFAULT_EC_BITS
          : DEFAULT_RSA_BITS
        : role.key_bits;
  if (key.bits < wanted) {
    throw new RksError(
      "ROLE_REFUSED",
      `a key of ${key.bits} bits is not allowed by role "${roleName}": key_bits is ${wanted}`,
      {
        suggestion: `Make a key of ${wanted} bits.`,
      },
    );
  }
}

/** A notBefore that lies in the past, but not before the epoch, which not every verifier can count back beyond. */
export function backdated(now: number, seconds: number): number {
  return Math.max(0, now - seconds * 1000);
}

function decideCommonName(
  role: PkiRole,
  request: NamesRequest,
  csr: CertificateRequest | undefined,
  warnings: string[],
): string {
  const requested = nameValues(csr?.subject ?? { der: new Uint8Array(), rdns: [] }, OID.commonName)[0] ?? "";
  const useCsr = csr !== undefined && role.use_csr_common_name;
  if (useCsr && requested !== "" && request.common_name !== "") {
    warnings.push("the common_name of the request was ignored: the role uses the CSR's");
  }
  const commonName = useCsr && requested !== "" ? requested : request.common_name;
  if (commonName.length > MAX_COMMON_NAME) {
    throw new RksError(
      "INPUT_INVALID",
      `a common name of ${commonName.length} characters is longer than ${MAX_COMMON_NAME}`,
    );
  }
  return commonName;
}

function decideNames(
  role: PkiRole,
  request: NamesRequest,
  csr: CertificateRequest | undefined,
  warnings: string[],
): Names {
  if (csr !== undefined && role.use_csr_sans) {
    const { dnsNames, emails, ipAddresses, uris, otherNames } = csr.requested;
    if (request.alt_names.length + request.ip_sans.length + request.uri_sans.length > 0) {
      warnings.push("the alternative names of the request were ignored: the role uses the CSR's");
    }
    if (otherNames > 0)
      warnings.push(`${otherNames} alternative names of other kinds in the CSR were ignored`);
    return { dnsNames: dnsNames.map(dnsName), emails: [...emails], ipAddresses, uris };
  }
  const emails = request.alt_names.filter((name) => name.includes("@"));
  const dnsNames = request.alt_names.filter((name) => !name.includes("@")).map(dnsName);
  return { dnsNames: [...new Set(dnsNames)], emails, ipAddresses: request.ip_sans, uris: request.uri_sans };
}

/** Vault drops names silently that are no DNS names; here the request is told. */
function dnsName(name: string): string {
  const ascii = toDnsName(name);
  if (ascii !== undefined) return ascii;
  throw new RksError(
    "INPUT_INVALID",
    `alternative name ${JSON.stringify(name.slice(0, 260))} is not a DNS name`,
    {
      suggestion: "Use letters, digits, inner hyphens and dots.",
    },
  );
}

function addCommonName(names: Names, commonName: string): void {
  if (commonName.includes("@")) {
    if (!names.emails.includes(commonName)) names.emails.push(commonName);
    return;
  }
  const ascii = toDnsName(commonName);
  if (ascii !== undefined && !names.dnsNames.includes(ascii)) names.dnsNames.unshift(ascii);
}

function assertAddresses(names: Names, role: PkiRole, roleName: string): void {
  const [address] = names.ipAddresses;
  if (address !== undefined && !role.allow_ip_sans) {
    throw new RksError(
      "ROLE_REFUSED",
      `IP address ${JSON.stringify(address.slice(0, 80))} is not allowed by role "${roleName}": allow_ip_sans is off`,
      {
        suggestion: "Set allow_ip_sans=true on the role.",
      },
    );
  }
  const wrong = names.ipAddresses.find((text) => parseIpAddress(text) === undefined);
  if (wrong !== undefined) {
    throw new RksError("INPUT_INVALID", `${JSON.stringify(wrong.slice(0, 80))} is not an IP address`, {
      suggestion: "Write IPv4 as 10.0.0.1 and IPv6 as 2001:db8::1, without port or prefix length.",
    });
  }
  for (const uri of names.uris) {
    if (role.allowed_uri_sans.some((pattern) => matchesGlob(pattern, uri)) && /^[!-~]+$/.test(uri)) continue;
    throw new RksError(
      "ROLE_REFUSED",
      `URI ${JSON.stringify(uri.slice(0, 260))} is not allowed by role "${roleName}": allowed_uri_sans has no pattern for it`,
      {
        suggestion: "Add it, or a pattern with *, to the role's allowed_uri_sans.",
      },
    );
  }
  const email = names.emails.find((text) => !/^[!-~]+$/.test(text));
  if (email !== undefined) {
    throw new RksError(
      "INPUT_INVALID",
      `${JSON.stringify(email.slice(0, 260))} is not an email address in ASCII`,
    );
  }
}

function decideDates(
  role: PkiRole,
  request: NamesRequest,
  context: IssuanceContext,
  warnings: string[],
): { readonly notBefore: number; readonly notAfter: number } {
  const max = role.max_ttl || context.maxTtlSeconds;
  let ttl = request.ttl || role.ttl || Math.min(context.defaultTtlSeconds, max);
  if (ttl > max) {
    warnings.push(
      `TTL of ${ttl} seconds is longer than permitted maxTTL of ${max} seconds, so maxTTL is being used`,
    );
    ttl = max;
  }
  const notAfter = Math.floor(context.now / 1000) * 1000 + ttl * 1000;
  if (notAfter > context.issuerNotAfter) {
    const [asked, end] = [notAfter, context.issuerNotAfter].map((time) => new Date(time).toISOString());
    throw new RksError(
      "INPUT_INVALID",
      `a certificate until ${asked} would outlive its issuer, which ends at ${end}`,
      {
        suggestion: "Ask for a shorter ttl, or make a new root.",
      },
    );
  }
  return { notBefore: backdated(context.now, role.not_before_duration), notAfter };
}
