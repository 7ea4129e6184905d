import { RksError } from "@rk8s/protocol";
import { encodeName, type NameAttribute, OID } from "@rk8s/x509";

/** Parts of a subject besides the common name, as roles and requests list them. */
export interface SubjectFields {
  readonly organization: readonly string[];
  readonly ou: readonly string[];
  readonly country: readonly string[];
  readonly locality: readonly string[];
  readonly province: readonly string[];
  readonly street_address: readonly string[];
  readonly postal_code: readonly string[];
}

/** In the order in which Go's crypto/x509, and so Vault, writes them. */
const ATTRIBUTES: readonly (readonly [keyof SubjectFields, string])[] = [
  ["country", OID.countryName],
  ["organization", OID.organizationName],
  ["ou", OID.organizationalUnitName],
  ["locality", OID.localityName],
  ["province", OID.stateOrProvinceName],
  ["street_address", OID.streetAddress],
  ["postal_code", OID.postalCode],
];

/** NUL and line breaks have made verifiers and logs read another name than the one that was signed. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]/u;

/**
 * A DER Name of the fields, each value once, the common name last; an empty common name is left out.
 * @throws {RksError} INPUT_INVALID for control characters and ill-formed text.
 */
export function encodeSubject(fields: SubjectFields, commonName: string): Uint8Array {
  const attributes: NameAttribute[] = ATTRIBUTES.flatMap(([field, type]) =>
    [...new Set(fields[field])].map((value) => ({ type, value })),
  );
  if (commonName !== "") attributes.push({ type: OID.commonName, value: commonName });
  const wrong = attributes.find(({ value }) => UNPRINTABLE.test(value));
  if (wrong !== undefined) {
    throw new RksError(
      "INPUT_INVALID",
      `subject value ${JSON.stringify(wrong.value.slice(0, 80))} has a control character`,
      { suggestion: "Write names in printable characters." },
    );
  }
  return encodeName(attributes);
}
