import type { DerReader } from "./der-reader.js";
import {
  type Extension,
  type KeyUsage,
  readAuthorityKeyIdentifier,
  readBasicConstraints,
  readExtendedKeyUsage,
  readKeyUsage,
  readSubjectKeyIdentifier,
} from "./extension.js";
import { OID } from "./oids.js";
import {
  NO_ALTERNATIVE_NAMES,
  readSubjectAlternativeName,
  type SubjectAlternativeName,
} from "./subject-alternative-name.js";

/** The values of the extensions that this package understands. */
export interface ExtensionValues extends SubjectAlternativeName {
  readonly isCa: boolean;
  readonly pathLength: number | undefined;
  readonly keyUsage: readonly KeyUsage[] | undefined;
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly subjectKeyId: Uint8Array | undefined;
  readonly authorityKeyId: Uint8Array | undefined;
  /** Critical extensions that none of these fields speaks for. */
  readonly unknownCriticalExtensions: readonly string[];
}

/** Decode the known extensions of a certificate or a request; `reader` gives failures their code. */
export function interpretExtensions(extensions: readonly Extension[], reader: DerReader): ExtensionValues {
  let names = NO_ALTERNATIVE_NAMES;
  let constraints: ReturnType<typeof readBasicConstraints> = { isCa: false, pathLength: undefined };
  let keyUsage: KeyUsage[] | undefined;
  let extendedKeyUsage: string[] | undefined;
  let subjectKeyId: Uint8Array | undefined;
  let authorityKeyId: Uint8Array | undefined;
  const unknownCriticalExtensions: string[] = [];
  for (const { oid, critical, value } of extensions) {
    const content = reader.nested(value);
    if (oid === OID.basicConstraints) constraints = readBasicConstraints(content);
    else if (oid === OID.keyUsage) keyUsage = readKeyUsage(content);
    else if (oid === OID.extendedKeyUsage) extendedKeyUsage = readExtendedKeyUsage(content);
    else if (oid === OID.subjectAltName) names = readSubjectAlternativeName(content);
    else if (oid === OID.subjectKeyIdentifier) subjectKeyId = readSubjectKeyIdentifier(content);
    else if (oid === OID.authorityKeyIdentifier) authorityKeyId = readAuthorityKeyIdentifier(content);
    else if (critical) unknownCriticalExtensions.push(oid);
  }
  // Field by field: spreading is several times slower, and this runs for every certificate.
  return {
    isCa: constraints.isCa,
    pathLength: constraints.pathLength,
    keyUsage,
    extendedKeyUsage,
    subjectKeyId,
    authorityKeyId,
    unknownCriticalExtensions,
    dnsNames: names.dnsNames,
    ipAddresses: names.ipAddresses,
    uris: names.uris,
    emails: names.emails,
    utf8OtherNames: names.utf8OtherNames,
    otherNames: names.otherNames,
  };
}
