import { createPrivateKey, createPublicKey, hash, type KeyObject } from "node:crypto";
import { equalBytes, hex, RksError } from "@rk8s/protocol";
import {
  assembleCertificate,
  buildTbsCertificate,
  type Certificate,
  DerReader,
  encodeAuthorityKeyIdentifier,
  encodeBasicConstraints,
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeKeyUsage,
  encodeSignatureAlgorithm,
  encodeSubjectAlternativeName,
  encodeSubjectKeyIdentifier,
  type KeyUsage,
  OID,
  parseCertificate,
  type SignatureAlgorithm,
  type SubjectAlternativeName,
} from "@rk8s/x509";
import type { KeyPair } from "./key-pair.js";
import { createSerialNumber } from "./serial-number.js";
import { signatureAlgorithmOf, signBytes } from "./signing.js";

/** What a leaf is to say. Nothing of it is checked here: whoever asks has decided it. */
export interface LeafFields {
  /** DER Name. */
  readonly subject: Uint8Array;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** Milliseconds; parts of a second are cut off. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Empty leaves the extension out. */
  readonly keyUsage: readonly KeyUsage[];
  /** Object identifiers; empty leaves the extension out. */
  readonly extendedKeyUsage: readonly string[];
  readonly names: Partial<Omit<SubjectAlternativeName, "otherNames">>;
  /** Whether to say CA:FALSE; a leaf without the extension is no CA either. */
  readonly basicConstraints: boolean;
  /** For RSA issuers: 256 (also 0), 384 or 512. */
  readonly signatureBits?: number;
}

export interface IssuedCertificate {
  readonly der: Uint8Array;
  /** Lower-case hexadecimal digits. */
  readonly serialNumber: string;
  /** Milliseconds, whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface RootFields {
  readonly subject: Uint8Array;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly pathLength: number | undefined;
  readonly signatureBits?: number;
}

/** RFC 7093 §2 method 1. */
const KEY_IDENTIFIER_BYTES = 20;
const LEAF_CONSTRAINTS = encodeBasicConstraints({ isCa: false, pathLength: undefined });
const ROOT_KEY_USAGE = encodeKeyUsage(["keyCertSign", "cRLSign"]);

/** An issuer: its certificate and its key, with the parts that repeat in every leaf encoded once. */
export class CertificateAuthority {
  readonly certificate: Certificate;
  readonly #privateKey: KeyObject;
  readonly #algorithm: SignatureAlgorithm;
  readonly #authorityKeyIdentifier: Uint8Array;

  /** @throws {RksError} CERTIFICATE_INVALID when the certificate is no CA's or the key is not its own. */
  constructor(certificate: Uint8Array, privateKey: KeyObject) {
    this.certificate = parseCertificate(certificate);
    this.#privateKey = privateKey;
    this.#algorithm = signatureAlgorithmOf(privateKey);
    const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
    if (!this.certificate.isCa || !equalBytes(spki, this.certificate.spki)) {
      throw new RksError(
        "CERTIFICATE_INVALID",
        "the issuer's certificate is no authority's or does not belong to its key",
        {
          suggestion: "Restore certificate and key of the issuer from the same backup.",
        },
      );
    }
    const keyId = this.certificate.subjectKeyId ?? keyIdentifier(this.certificate.spki);
    this.#authorityKeyIdentifier = encodeAuthorityKeyIdentifier(keyId);
  }

  /** Read the key from PKCS#8 DER. The bytes are not wiped. */
  static fromPkcs8(certificate: Uint8Array, pkcs8: Uint8Array): CertificateAuthority {
    const key = createPrivateKey({
      key: Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.length),
      format: "der",
      type: "pkcs8",
    });
    return new CertificateAuthority(certificate, key);
  }

  /** Sign a leaf with a new random serial number. Proof of possession and every rule are the caller's to check before. */
  issue(leaf: LeafFields): IssuedCertificate {
    const algorithm =
      leaf.signatureBits === undefined
        ? this.#algorithm
        : signatureAlgorithmOf(this.#privateKey, leaf.signatureBits);
    const signatureAlgorithm = encodeSignatureAlgorithm(algorithm);
    const serialNumber = createSerialNumber();
    const tbs = buildTbsCertificate({
      serialNumber,
      signatureAlgorithm,
      issuer: this.certificate.subject.der,
      notBefore: leaf.notBefore,
      notAfter: leaf.notAfter,
      subject: leaf.subject,
      spki: leaf.spki,
      extensions: this.#extensions(leaf),
    });
    return {
      der: assembleCertificate(tbs, signatureAlgorithm, signBytes(algorithm, tbs, this.#privateKey)),
      serialNumber: hex(serialNumber),
      notBefore: wholeSeconds(leaf.notBefore),
      notAfter: wholeSeconds(leaf.notAfter),
    };
  }

  #extensions(leaf: LeafFields): Uint8Array[] {
    const extensions: Uint8Array[] = [];
    if (leaf.basicConstraints) extensions.push(LEAF_CONSTRAINTS);
    if (leaf.keyUsage.length > 0) extensions.push(encodeKeyUsage(leaf.keyUsage));
    if (leaf.extendedKeyUsage.length > 0) extensions.push(encodeExtendedKeyUsage(leaf.extendedKeyUsage));
    extensions.push(encodeSubjectKeyIdentifier(keyIdentifier(leaf.spki)), this.#authorityKeyIdentifier);
    if (Object.values(leaf.names).some((names) => names.length > 0)) {
      const value = encodeSubjectAlternativeName(leaf.names);
      // An empty subject makes the names critical (RFC 5280 §4.2.1.6).
      extensions.push(
        encodeExtension({ oid: OID.subjectAltName, critical: leaf.subject.length === 2, value }),
      );
    }
    return extensions;
  }
}

/** Make a self-signed root certificate. */
export function createRootCertificate(keyPair: KeyPair, root: RootFields): IssuedCertificate {
  const algorithm = signatureAlgorithmOf(keyPair.privateKey, root.signatureBits);
  const signatureAlgorithm = encodeSignatureAlgorithm(algorithm);
  const serialNumber = createSerialNumber();
  const keyId = keyIdentifier(keyPair.spki);
  const tbs = buildTbsCertificate({
    serialNumber,
    signatureAlgorithm,
    issuer: root.subject,
    notBefore: root.notBefore,
    notAfter: root.notAfter,
    subject: root.subject,
    spki: keyPair.spki,
    extensions: [
      encodeBasicConstraints({ isCa: true, pathLength: root.pathLength }),
      ROOT_KEY_USAGE,
      encodeSubjectKeyIdentifier(keyId),
      encodeAuthorityKeyIdentifier(keyId),
    ],
  });
  return {
    der: assembleCertificate(tbs, signatureAlgorithm, signBytes(algorithm, tbs, keyPair.privateKey)),
    serialNumber: hex(serialNumber),
    notBefore: wholeSeconds(root.notBefore),
    notAfter: wholeSeconds(root.notAfter),
  };
}

/** The leftmost 160 bits of the SHA-256 of the key's bits (RFC 7093 §2 method 1). */
function keyIdentifier(spki: Uint8Array): Uint8Array {
  const fields = DerReader.over(spki, { code: "CERTIFICATE_INVALID" }).sequence();
  fields.element();
  return hash("sha256", fields.wholeBitString(), "buffer").subarray(0, KEY_IDENTIFIER_BYTES);
}

function wholeSeconds(timeMs: number): number {
  return Math.floor(timeMs / 1000) * 1000;
}
