import { RksError } from "@rk8s/protocol";
import { type CertificateRequest, nameValues, OID, type OtherName } from "@rk8s/x509";
import { toDnsName } from "../name-rules.js";
import { parseOtherSan } from "../role/other-sans.js";
import type { PkiRole } from "../role/role-fields.js";
import { canonicalIpAddress } from "./ip-sans.js";
import type { LeafRequest } from "./issue-fields.js";

/** Whom a certificate is asked for, wherever it stood. Nothing of it is allowed yet. */
export interface RequestedNames {
  /** Empty: none. */
  readonly commonName: string;
  readonly serialNumber: string;
  readonly userIds: readonly string[];
  readonly dnsNames: readonly string[];
  readonly emails: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly uris: readonly string[];
  readonly otherNames: readonly OtherName[];
}

type Rules = Pick<PkiRole, "use_csr_common_name" | "use_csr_sans" | "enforce_hostnames" | "cn_validations">;

const MAX_NAMES = 250;
const MAX_COMMON_NAME = 253;
const MAX_EMAIL = 320;
const MAX_NAME = 2048;
/** Names that DNS serves though they are no host names, such as `_acme-challenge.example.org`. */
const LOOSE_DNS_NAME = /^[A-Za-z0-9_.*-]{1,253}$/;
const PRINTABLE = /^[!-~]+$/;

/**
 * Gather what a request and its CSR ask for; which of the two counts, the role says. What is left aside gives a warning.
 * @throws {RksError} INPUT_INVALID for names that are none of their kind, and for more than a certificate should have.
 */
export function requestedNames(
  role: Rules,
  request: LeafRequest,
  csr: CertificateRequest | undefined,
  warnings: string[],
): RequestedNames {
  const commonName = chooseCommonName(role, request, csr, warnings);
  const names = alternativeNames(role, request, csr, warnings);
  const { dnsNames, emails } = request.exclude_cn_from_sans
    ? names
    : withCommonName(names, commonName, role, warnings);
  const asked = { ...names, dnsNames: [...new Set(dnsNames)], emails: [...new Set(emails)] };
  const { ipAddresses, uris, otherNames } = asked;
  const userIds = request.user_ids.length > 0 ? request.user_ids : subjectValues(csr, OID.userId);
  const lists = [asked.dnsNames, asked.emails, ipAddresses, uris, otherNames, userIds];
  const count = lists.reduce((sum, { length }) => sum + length, 0);
  if (count > MAX_NAMES) {
    refuse(`${count} names are more than the limit of ${MAX_NAMES}`, "Ask for several certificates.");
  }
  const own = request.serial_number === "" ? subjectValues(csr, OID.serialNumber)[0] : request.serial_number;
  return { commonName, serialNumber: own ?? "", userIds, ...asked };
}

/** All values of one attribute of a CSR's subject. */
function subjectValues(csr: CertificateRequest | undefined, type: string): string[] {
  return csr === undefined ? [] : nameValues(csr.subject, type);
}

function chooseCommonName(
  role: Rules,
  request: LeafRequest,
  csr: CertificateRequest | undefined,
  warnings: string[],
): string {
  const ofCsr = csr !== undefined && role.use_csr_common_name;
  const requested = ofCsr ? (subjectValues(csr, OID.commonName)[0] ?? "") : "";
  if (requested !== "" && request.common_name !== "" && requested !== request.common_name) {
    warnings.push(
      'the common_name field was provided but the role is set with "use_csr_common_name" set to true',
    );
  }
  const commonName = requested === "" ? request.common_name : requested;
  if (commonName.length <= MAX_COMMON_NAME) return commonName;
  return refuse(
    `a common name of ${commonName.length} characters is longer than ${MAX_COMMON_NAME}`,
    "Use a shorter name, and alt_names for what is longer.",
  );
}

type AlternativeNames = Omit<RequestedNames, "commonName" | "serialNumber" | "userIds">;

function alternativeNames(
  role: Rules,
  request: LeafRequest,
  csr: CertificateRequest | undefined,
  warnings: string[],
): AlternativeNames {
  const others = request.other_sans.map((text) => parseOtherSan("other_sans", text));
  if (csr === undefined || !role.use_csr_sans) {
    const emails = request.alt_names.filter((name) => name.includes("@"));
    const dnsNames = request.alt_names.filter((name) => !name.includes("@"));
    return {
      dnsNames: dnsNames.map((name) => dnsName(name, role)),
      emails: emails.map(email),
      ipAddresses: [...new Set(request.ip_sans.map(ipAddress))],
      uris: request.uri_sans.map(uri),
      otherNames: others,
    };
  }
  for (const field of ["alt_names", "ip_sans", "uri_sans"] as const) {
    if (request[field].length === 0 || request[field].every((name) => isIn(csr, name))) continue;
    warnings.push(`the ${field} field was provided but the role is set with "use_csr_sans" set to true`);
  }
  const { requested } = csr;
  const unreadable = requested.otherNames - requested.utf8OtherNames.length;
  if (unreadable > 0) warnings.push(`${unreadable} alternative names of other kinds in the CSR were ignored`);
  return {
    dnsNames: requested.dnsNames.map((name) => dnsName(name, role)),
    emails: requested.emails.map(email),
    ipAddresses: [...new Set(requested.ipAddresses.map(ipAddress))],
    uris: requested.uris.map(uri),
    otherNames: [...others, ...requested.utf8OtherNames],
  };
}

/** A common name that is a host name or an email address is an alternative name too. */
function withCommonName(
  names: AlternativeNames,
  commonName: string,
  role: Rules,
  warnings: string[],
): Pick<AlternativeNames, "dnsNames" | "emails"> {
  const { dnsNames, emails } = names;
  if (commonName === "") return names;
  if (commonName.includes("@")) {
    const isAddress = PRINTABLE.test(commonName) && commonName.length <= MAX_EMAIL;
    if (isAddress && commonName.split("@").length === 2) return { dnsNames, emails: [...emails, commonName] };
  } else {
    const ascii = toDnsName(commonName);
    if (ascii !== undefined) return { dnsNames: [ascii, ...dnsNames], emails };
  }
  if (!role.cn_validations.includes("disabled")) {
    warnings.push("the common name is no DNS name or email address and is not among the alternative names");
  }
  return names;
}

/** Vault drops names silently that are no DNS names; here the request is told. */
function dnsName(name: string, role: Rules): string {
  const ascii = toDnsName(name);
  if (ascii !== undefined) return ascii;
  if (!role.enforce_hostnames && LOOSE_DNS_NAME.test(name)) return name;
  return refuse(
    `alternative name ${JSON.stringify(name.slice(0, 260))} is not a DNS name`,
    role.enforce_hostnames && LOOSE_DNS_NAME.test(name)
      ? "Use letters, digits, inner hyphens and dots, or set enforce_hostnames=false on the role."
      : "Use letters, digits, inner hyphens and dots.",
  );
}

function email(text: string): string {
  if (PRINTABLE.test(text) && text.length <= MAX_EMAIL) return text;
  return refuse(
    `${JSON.stringify(text.slice(0, 260))} is not an email address in ASCII`,
    "Write the address in printable ASCII, its host as xn--….",
  );
}

function uri(text: string): string {
  if (PRINTABLE.test(text) && text.length <= MAX_NAME) return text;
  return refuse(
    `${JSON.stringify(text.slice(0, 260))} is not a URI`,
    "Write the URI in printable ASCII, everything else percent-encoded.",
  );
}

function ipAddress(text: string): string {
  const address = canonicalIpAddress(text);
  if (address !== undefined) return address;
  return refuse(
    `the value ${JSON.stringify(text.slice(0, 80))} is not a valid IP address`,
    "Write IPv4 as 10.0.0.1 and IPv6 as 2001:db8::1, without port or prefix length.",
  );
}

function isIn({ requested }: CertificateRequest, name: string): boolean {
  const { dnsNames, emails, ipAddresses, uris } = requested;
  return [dnsNames, emails, ipAddresses, uris].some((names) => names.includes(name));
}

function refuse(problem: string, suggestion: string): never {
  throw new RksError("INPUT_INVALID", problem, { suggestion });
}
