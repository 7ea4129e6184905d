import {
  encodeBasicConstraints,
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeKeyUsage,
  encodeSubjectAlternativeName,
  type KeyUsage,
  OID,
  type SubjectAlternativeName,
} from "@rk8s/x509";

/** What a leaf says besides its subject, key and time. Nothing of it is checked here: whoever asks has decided it. */
export interface LeafExtensions {
  /** Empty leaves the extension out. */
  readonly keyUsage: readonly KeyUsage[];
  /** Object identifiers; empty leaves the extension out. */
  readonly extendedKeyUsage: readonly string[];
  readonly names: Partial<Omit<SubjectAlternativeName, "otherNames">>;
  /** Whether to say CA:FALSE; a leaf without the extension is no CA either. */
  readonly basicConstraints: boolean;
}

const LEAF_CONSTRAINTS = encodeBasicConstraints({ isCa: false, pathLength: undefined });

/** Encode the extensions of a leaf; with an empty subject its names are critical (RFC 5280 §4.2.1.6). */
export function encodeLeafExtensions(leaf: LeafExtensions, subject: Uint8Array): Uint8Array[] {
  const extensions: Uint8Array[] = [];
  if (leaf.basicConstraints) extensions.push(LEAF_CONSTRAINTS);
  if (leaf.keyUsage.length > 0) extensions.push(encodeKeyUsage(leaf.keyUsage));
  if (leaf.extendedKeyUsage.length > 0) extensions.push(encodeExtendedKeyUsage(leaf.extendedKeyUsage));
  if (Object.values(leaf.names).some((names) => names.length > 0)) {
    const value = encodeSubjectAlternativeName(leaf.names);
    extensions.push(encodeExtension({ oid: OID.subjectAltName, critical: subject.length === 2, value }));
  }
  return extensions;
}
