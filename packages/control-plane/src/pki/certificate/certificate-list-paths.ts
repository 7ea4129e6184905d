import { parseDuration, RksError } from "@rk8s/protocol";
import { nameValues, OID } from "@rk8s/x509";
import { setImmediate as nextTurn } from "node:timers/promises";
import { z } from "zod";
import type { Answer, JsonObject } from "../../vault/backend.js";
import { count, text } from "../../vault/field-types.js";
import { type BackendPath, operation } from "../../vault/path-table.js";
import type { PkiMount } from "../pki-mount.js";
import { requireDate } from "../role/date-text.js";
import { formatSerialNumber, parseSerialNumber } from "../serial-number.js";
import { type FoundCertificate, searchCertificates } from "./certificate-search.js";

const rangeFields = { after: text("", { maxCharacters: 200 }), limit: count(0) };
const listFields = z.object(rangeFields);
const detailedFields = z.object({
  ...rangeFields,
  common_name: text("", { maxCharacters: 256 }),
  dns_name: text("", { maxCharacters: 256 }),
  issuer: text("", { maxCharacters: 256 }),
  expires_before: text("", { maxCharacters: 64 }),
  expires_after: text("", { maxCharacters: 64 }),
});

/** An answer with more would be too large for most clients; it says how to go on. */
const MAX_KEYS = 100_000;
const MAX_DETAILED = 10_000;
/** Records that are decrypted in one turn of the event loop: some milliseconds. */
const PAGE = 250;
/** DNS names of a certificate in an overview. */
const MAX_DNS_NAMES = 5;

interface SerialPage {
  readonly serialNumbers: readonly string[];
  readonly more: boolean;
}
type ReadPage = (range: { readonly after?: string; readonly limit: number }) => Promise<SerialPage>;

/** `certs`, `certs/revoked` and `certs/detailed`. */
export function certificateListPaths(pki: PkiMount): BackendPath[] {
  const listing = (pattern: string, summary: string, readPage: ReadPage): BackendPath => ({
    pattern,
    operations: {
      list: operation({ summary, fields: listFields, handle: ({ fields }) => listSerials(fields, readPage) }),
    },
  });
  return [
    listing("certs", "List the serial numbers of stored certificates.", (range) =>
      pki.certificates.list(range),
    ),
    listing("certs/revoked", "List the serial numbers of revoked certificates.", async (range) => {
      const { records, more } = await pki.revocations.list(range);
      return { serialNumbers: records.map(({ serialNumber }) => serialNumber), more };
    }),
    {
      pattern: "certs/detailed",
      operations: {
        list: operation({
          summary: "List stored certificates with names, issuer, key and lifetime; find some by these.",
          fields: detailedFields,
          handle: ({ fields }) => listDetailed(pki, fields),
        }),
      },
    },
  ];
}

async function listSerials(
  range: { readonly after: string; readonly limit: number },
  readPage: ReadPage,
): Promise<Answer | undefined> {
  const limit = range.limit === 0 ? MAX_KEYS : Math.min(range.limit, MAX_KEYS);
  const keys: string[] = [];
  let after = afterSerial(range.after);
  for (let more = true; more && keys.length < limit;) {
    const page = await readPage({
      limit: Math.min(PAGE, limit - keys.length),
      ...(after === undefined ? {} : { after }),
    });
    keys.push(...page.serialNumbers.map(formatSerialNumber));
    after = page.serialNumbers.at(-1);
    more = page.more && after !== undefined;
    if (more && keys.length >= limit && range.limit === 0)
      return { data: { keys }, warnings: [cut(keys.at(-1) ?? "")] };
    await nextTurn();
  }
  return keys.length === 0 ? undefined : { data: { keys } };
}

async function listDetailed(
  pki: PkiMount,
  fields: z.output<typeof detailedFields>,
): Promise<Answer | undefined> {
  const now = pki.clock.now();
  const issuer = fields.issuer === "" ? undefined : pki.issuers.require(fields.issuer);
  const limit = fields.limit === 0 ? MAX_DETAILED : Math.min(fields.limit, MAX_DETAILED);
  const filter = {
    common_name: fields.common_name,
    dns_name: fields.dns_name,
    issuerId: issuer?.id ?? "",
    expiresBeforeMs: moment("expires_before", fields.expires_before, now),
    expiresAfterMs: moment("expires_after", fields.expires_after, now),
  };
  const range = { after: afterSerial(fields.after), limit };
  const { found, continueAfter } = await searchCertificates(pki, filter, range);
  const keys = found.map(({ serialNumber }) => formatSerialNumber(serialNumber));
  const isAskedFor = fields.limit !== 0 && found.length === fields.limit;
  const warnings = continueAfter === undefined || isAskedFor ? [] : [cut(formatSerialNumber(continueAfter))];
  if (keys.length === 0 && warnings.length === 0) return undefined;
  const info = found.map((one, index) => [keys[index] ?? "", describe(one)] as const);
  return { data: { keys, key_info: Object.fromEntries(info) }, warnings };
}

function describe({ certificate, record }: FoundCertificate): JsonObject {
  const { publicKey, dnsNames } = certificate;
  return {
    common_name: nameValues(certificate.subject, OID.commonName)[0] ?? "",
    issuer: nameValues(certificate.issuer, OID.commonName)[0] ?? "",
    issuer_id: record.issuerId,
    key_type: publicKey.algorithm,
    key_bits: publicKey.algorithm === "other" ? 0 : publicKey.bits,
    not_before: new Date(certificate.notBefore).toISOString(),
    not_after: new Date(certificate.notAfter).toISOString(),
    dns_names: dnsNames.slice(0, MAX_DNS_NAMES),
  };
}

/** A date, seconds since the epoch, or a duration from now. @throws {RksError} INPUT_INVALID. */
function moment(field: string, given: string, now: number): number | undefined {
  if (given === "") return undefined;
  if (/^\d{9,12}$/.test(given)) return Number(given) * 1000;
  try {
    return now + parseDuration(/^\d{1,8}$/.test(given) ? `${given}s` : given) * 1000;
  } catch {
    return requireDate(field, given);
  }
}

function afterSerial(given: string): string | undefined {
  if (given === "") return undefined;
  const serialNumber = parseSerialNumber(given);
  if (serialNumber !== undefined) return serialNumber;
  throw new RksError("INPUT_INVALID", `after ${JSON.stringify(given.slice(0, 80))} is no serial number`, {
    suggestion: "Give the last key of the page before.",
  });
}

function cut(last: string): string {
  return `the list is not complete: go on with after=${last}`;
}
