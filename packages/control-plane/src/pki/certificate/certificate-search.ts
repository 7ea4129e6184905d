import { setImmediate as nextTurn } from "node:timers/promises";
import { type Certificate, nameValues, OID, parseCertificate } from "@rk8s/x509";
import { matchesGlob } from "../name-rules.js";
import type { PkiMount } from "../pki-mount.js";
import type { CertificateRecord } from "./certificate-store.js";

/** What certificates are looked for; empty and 0 stand for any. */
export interface CertificateFilter {
  /** Part of the common name, or with `*` a pattern of all of it; case does not matter. */
  readonly common_name: string;
  /** The same of any DNS name. */
  readonly dns_name: string;
  /** Id of the issuer. */
  readonly issuerId: string;
  /** Milliseconds: ends before, and at or after. */
  readonly expiresBeforeMs: number | undefined;
  readonly expiresAfterMs: number | undefined;
}

export interface FoundCertificate {
  readonly serialNumber: string;
  readonly certificate: Certificate;
  readonly record: CertificateRecord;
}

export interface SearchResult {
  readonly found: readonly FoundCertificate[];
  /** Where to go on when not all were looked at: the last serial number that was. */
  readonly continueAfter: string | undefined;
}

/** Certificates that one request looks at: some seconds of work, done a page at a time. */
const MAX_EXAMINED = 100_000;
/** Looked at in one turn of the event loop. */
const PAGE = 200;

/**
 * Find certificates: in the order of their end when the filter has a time, for which only those in question are read;
 * else in the order of their serial numbers. What cannot be parsed is passed over.
 */
export async function searchCertificates(
  pki: PkiMount,
  filter: CertificateFilter,
  range: { readonly after: string | undefined; readonly limit: number; readonly maxExamined?: number },
): Promise<SearchResult> {
  const { maxExamined = MAX_EXAMINED } = range;
  const found: FoundCertificate[] = [];
  const isTimed = filter.expiresBeforeMs !== undefined || filter.expiresAfterMs !== undefined;
  let after = range.after;
  for (let examined = 0; examined < maxExamined;) {
    const page = isTimed ? await pageByEnd(pki, filter, after) : await pageBySerial(pki, after);
    for (const serialNumber of page.serialNumbers) {
      after = serialNumber;
      const match = await examine(pki, serialNumber, filter);
      if (match !== undefined) found.push(match);
      if (found.length >= range.limit) return { found, continueAfter: after };
    }
    await nextTurn();
    examined += page.serialNumbers.length;
    if (!page.more || page.serialNumbers.length === 0) return { found, continueAfter: undefined };
  }
  return { found, continueAfter: after };
}

interface SerialPage {
  readonly serialNumbers: readonly string[];
  readonly more: boolean;
}

function pageBySerial(pki: PkiMount, after: string | undefined): Promise<SerialPage> {
  return pki.certificates.list({ limit: PAGE, ...(after === undefined ? {} : { after }) });
}

async function pageByEnd(
  pki: PkiMount,
  filter: CertificateFilter,
  after: string | undefined,
): Promise<SerialPage> {
  const { expiresAfterMs: fromMs, expiresBeforeMs: beforeMs } = filter;
  const record = after === undefined ? undefined : await pki.certificates.read(after);
  const page = await pki.certificates.byEnd.list({
    limit: PAGE,
    ...(fromMs === undefined ? {} : { fromMs }),
    ...(beforeMs === undefined ? {} : { beforeMs }),
    ...(after === undefined || record === undefined
      ? {}
      : { after: { serialNumber: after, notAfterMs: parseCertificate(record.der).notAfter } }),
  });
  return { serialNumbers: page.endings.map(({ serialNumber }) => serialNumber), more: page.more };
}

async function examine(
  pki: PkiMount,
  serialNumber: string,
  filter: CertificateFilter,
): Promise<FoundCertificate | undefined> {
  try {
    const record = await pki.certificates.read(serialNumber);
    if (record === undefined || (filter.issuerId !== "" && record.issuerId !== filter.issuerId))
      return undefined;
    const certificate = parseCertificate(record.der);
    const [commonName = ""] = nameValues(certificate.subject, OID.commonName);
    if (!matches(filter.common_name, [commonName])) return undefined;
    if (!matches(filter.dns_name, certificate.dnsNames)) return undefined;
    return { serialNumber, certificate, record };
  } catch {
    return undefined;
  }
}

function matches(pattern: string, names: readonly string[]): boolean {
  if (pattern === "") return true;
  const wanted = pattern.toLowerCase();
  const isPattern = wanted.includes("*");
  return names.some((name) => {
    const text = name.toLowerCase();
    return isPattern ? matchesGlob(wanted, text) : text.includes(wanted);
  });
}
