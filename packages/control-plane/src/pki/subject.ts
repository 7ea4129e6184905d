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

/** A DER Name of the fields, each value once, the common name last; an empty common name is left out. */
export function encodeSubject(fields: SubjectFields, commonName: string): Uint8Array {
  const attributes: NameAttribute[] = ATTRIBUTES.flatMap(([field, type]) =>
    [...new Set(fields[field])].map((value) => ({ type, value })),
  );
  if (commonName !== "") attributes.push({ type: OID.commonName, value: commonName });
  return encodeName(attributes);
}
