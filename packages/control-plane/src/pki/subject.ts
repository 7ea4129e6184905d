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

/** Parts of a subject that belong to one certificate. */
export interface OwnSubjectFields {
  /** X.520's attribute, not the certificate's number. */
  readonly serialNumber?: string;
  readonly userIds?: readonly string[];
}

/**
 * A DER Name of the fields, each value once, then common name, serial number and user ids; empty ones are left out.
 * @throws {RksError} INPUT_INVALID for control characters and ill-formed text.
 */
export function encodeSubject(
  fields: SubjectFields,
  commonName: string,
  own: OwnSubjectFields = {},
): Uint8Array {
  const { serialNumber = "", userIds = [] } = own;
  const attributes: NameAttribute[] = ATTRIBUTES.flatMap(([field, type]) =>
    [...new Set(fields[field])].map((value) => ({ type, value })),
  );
  if (commonName !== "") attributes.push({ type: OID.commonName, value: commonName });
  if (serialNumber !== "") attributes.push({ type: OID.serialNumber, value: serialNumber });
  for (const value of new Set(userIds)) attributes.push({ type: OID.userId, value });
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
