import { encodeOid, encodeSequence } from "./der-writer.js";
import { encodeExtension, type Extension, type ExtensionOptions, openExtension } from "./extension.js";
import { encodeUri, GENERAL_NAME, readGeneralNameText } from "./general-name.js";
import { OID } from "./oids.js";

/** Where the issuer's certificate and its OCSP responder are (RFC 5280 §4.2.2.1). */
export interface AuthorityInfoAccess {
  readonly ocsp: readonly string[];
  readonly caIssuers: readonly string[];
}

const MAX_DESCRIPTIONS = 100;

/** AuthorityInfoAccess, not critical; OCSP first. @throws {TypeError} without any URI, or when one is empty or not ASCII. */
export function encodeAuthorityInfoAccess(access: Partial<AuthorityInfoAccess>): Uint8Array {
  const parts = [
    ...(access.ocsp ?? []).map((uri) => encodeSequence(encodeOid(OID.ocsp), encodeUri(uri))),
    ...(access.caIssuers ?? []).map((uri) => encodeSequence(encodeOid(OID.caIssuers), encodeUri(uri))),
  ];
  if (parts.length === 0) throw new TypeError("an authorityInfoAccess needs at least one URI");
  return encodeExtension({ oid: OID.authorityInfoAccess, critical: false, value: encodeSequence(...parts) });
}

/**
 * Read AuthorityInfoAccess from a list of extensions; undefined when it is not there. Other access methods and
 * locations that are no URI are stepped over.
 * @throws {RksError} CERTIFICATE_INVALID, or the given code, when the extension breaks the grammar.
 */
export function parseAuthorityInfoAccess(
  extensions: readonly Extension[],
  options: ExtensionOptions = {},
): AuthorityInfoAccess | undefined {
  const reader = openExtension(extensions, OID.authorityInfoAccess, options);
  if (reader === undefined) return undefined;
  const descriptions = reader.sequence();
  reader.finish();
  const ocsp: string[] = [];
  const caIssuers: string[] = [];
  for (let count = 1; !descriptions.done; count++) {
    if (count > MAX_DESCRIPTIONS)
      descriptions.refuse(`its authorityInfoAccess has more than ${MAX_DESCRIPTIONS} entries`);
    const description = descriptions.sequence();
    const method = description.oid();
    const uri =
      description.nextTag === GENERAL_NAME.URI
        ? readGeneralNameText(description, GENERAL_NAME.URI)
        : undefined;
    if (uri === undefined) description.element();
    description.finish();
    if (uri !== undefined && method === OID.ocsp) ocsp.push(uri);
    if (uri !== undefined && method === OID.caIssuers) caIssuers.push(uri);
  }
  return { ocsp, caIssuers };
}
