import { RksError } from "@rk8s/protocol";
import { list } from "../../vault/field-types.js";
import type { AccessUrls } from "./issuer.js";

/** Enough for mirrors; every certificate carries all of them. */
const MAX_URLS = 20;
const MAX_URL_CHARACTERS = 500;
const PROTOCOLS = ["http:", "https:", "ldap:", "ldaps:"];

/** The lists of URLs that issuers and `config/urls` have alike. */
export const accessUrlFields = {
  issuing_certificates: list(),
  crl_distribution_points: list(),
  delta_crl_distribution_points: list(),
  ocsp_servers: list(),
};

type UrlLists = Omit<AccessUrls, "enable_templating">;

/**
 * What a request makes of the URLs that were set before; lists that it leaves out stay.
 * @throws {RksError} INPUT_INVALID naming the URL that is none.
 */
export function changeAccessUrls(
  before: AccessUrls,
  request: { readonly [name in keyof UrlLists]?: readonly string[] | undefined } & {
    readonly enableTemplating: boolean | undefined;
  },
): AccessUrls {
  const urls = {
    issuing_certificates: request.issuing_certificates ?? before.issuing_certificates,
    crl_distribution_points: request.crl_distribution_points ?? before.crl_distribution_points,
    delta_crl_distribution_points:
      request.delta_crl_distribution_points ?? before.delta_crl_distribution_points,
    ocsp_servers: request.ocsp_servers ?? before.ocsp_servers,
    enable_templating: request.enableTemplating ?? before.enable_templating,
  };
  for (const [field, values] of Object.entries(urls)) {
    if (typeof values === "boolean") continue;
    if (values.length > MAX_URLS) {
      throw refused(`${field} has ${values.length} URLs, more than ${MAX_URLS}`, "Give fewer.");
    }
    for (const value of values) assertUrl(field, value, urls.enable_templating);
  }
  return urls;
}

/** @throws {RksError} INPUT_INVALID when a text is no URL that a certificate can carry. */
export function assertUrl(field: string, value: string, isTemplate = false): void {
  const filled = isTemplate
    ? value
        .replace(/^\{\{\s*cluster_(?:aia_)?path\s*\}\}/, "https://cluster.invalid")
        .replaceAll(/\{\{\s*[a-z_]+\s*\}\}/g, "x")
    : value;
  const protocol = URL.canParse(filled) ? new URL(filled).protocol : "";
  const isWritable = isTemplate ? /^[ -~]+$/.test(value) : /^[^{}]+$/.test(value) && /^[!-~]+$/.test(value);
  if (PROTOCOLS.includes(protocol) && isWritable && value.length <= MAX_URL_CHARACTERS) return;
  throw refused(
    `${field} has ${JSON.stringify(value.slice(0, 120))}, which is no URL`,
    isTemplate || !value.includes("{{")
      ? "Write URLs as http://pki.example.org/ca.crt, in ASCII."
      : "Switch templates on to use {{…}} in URLs.",
  );
}

function refused(problem: string, suggestion: string): RksError {
  return new RksError("INPUT_INVALID", problem, { suggestion });
}
