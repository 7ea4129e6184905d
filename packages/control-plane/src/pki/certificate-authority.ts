import { createPublicKey, hash, type KeyObject } from "node:crypto";
import { equalBytes, hex, RksError } from "@rk8s/protocol";
import {
  assembleCertificate,
  buildTbsCertificate,
  type Certificate,
  encodeAuthorityKeyIdentifier,
  encodeSignatureAlgorithm,
  encodeSubjectKeyIdentifier,
  subjectPublicKeyBits,
} from "@rk8s/x509";
import { createSerialNumber } from "./serial-number.js";
import { type SignatureOptions, signatureAlgorithmOf, signBytes, type SigningAlgorithm } from "./signing.js";

/** What a certificate is to say. Nothing of it is checked here: whoever asks has decided it. */
export interface CertificateFields extends SignatureOptions {
  /** DER Name. */
  readonly subject: Uint8Array;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** Milliseconds; parts of a second are cut off. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** DER extensions besides the key identifiers and the issuer's access points, which are added. */
  readonly extensions: readonly Uint8Array[];
  /** Up to 20 bytes, positive. Default: a random one. */
  readonly serialNumber?: Uint8Array | undefined;
  /** Default: of the key (RFC 7093 §2 method 1). */
  readonly subjectKeyId?: Uint8Array | undefined;
}

export interface IssuedCertificate {
  readonly der: Uint8Array;
  /** Lower-case hexadecimal digits. */
  readonly serialNumber: string;
  /** Milliseconds, whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
}

const KEY_IDENTIFIER_BYTES = 20;

/** An issuer that can sign: its certificate and its key, with the parts that repeat in every certificate encoded once. */
export class CertificateAuthority {
  readonly certificate: Certificate;
  readonly #privateKey: KeyObject;
  readonly #authorityKeyIdentifier: Uint8Array;
  readonly #accessPoints: readonly Uint8Array[];
  readonly #algorithms = new Map<SigningAlgorithm, Uint8Array>();

  /**
   * @param accessPoints DER extensions that every certificate gets: where to ask about the issuer and its revocations.
   * @throws {RksError} CERTIFICATE_INVALID when the certificate is no CA's or the key is not its own.
   */
  constructor(
    certificate: Certificate,
    privateKey: KeyObject,
    options: { readonly accessPoints?: readonly Uint8Array[] } = {},
  ) {
    this.certificate = certificate;
    this.#privateKey = privateKey;
    this.#accessPoints = options.accessPoints ?? [];
    const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
    if (!certificate.isCa || !equalBytes(spki, certificate.spki)) {
      throw new RksError(
        "CERTIFICATE_INVALID",
        "the issuer's certificate is no authority's or does not belong to its key",
        {
          suggestion: "Restore certificate and key of the issuer from the same backup.",
        },
      );
    }
    this.#authorityKeyIdentifier = encodeAuthorityKeyIdentifier(subjectKeyIdOf(certificate));
  }

  /** Sign a certificate with a new random serial number. Every rule is the caller's to check before. */
  sign(fields: CertificateFields): IssuedCertificate {
    return signCertificate(fields, {
      privateKey: this.#privateKey,
      issuer: this.certificate.subject.der,
      ...this.#algorithm(fields),
      extensions: [this.#authorityKeyIdentifier, ...this.#accessPoints],
    });
  }

  /** Sign a CRL's or an OCSP answer's bytes; they name the algorithm, so it is asked for first. */
  signBytes(bytes: Uint8Array, options: SignatureOptions = {}): Uint8Array {
    return signBytes(this.#algorithm(options).algorithm, bytes, this.#privateKey);
  }

  /** DER AlgorithmIdentifier of what `signBytes` with the same options makes. */
  signatureAlgorithm(options: SignatureOptions = {}): Uint8Array {
    return this.#algorithm(options).signatureAlgorithm;
  }

  #algorithm(options: SignatureOptions): AlgorithmParts {
    const algorithm = signatureAlgorithmOf(this.#privateKey, options);
    let signatureAlgorithm = this.#algorithms.get(algorithm);
    if (signatureAlgorithm === undefined) {
      signatureAlgorithm = encodeSignatureAlgorithm(algorithm);
      this.#algorithms.set(algorithm, signatureAlgorithm);
    }
    return { algorithm, signatureAlgorithm };
  }
}

/** Make a certificate that is signed by the key that it is for: a root. */
export function selfSign(privateKey: KeyObject, fields: CertificateFields): IssuedCertificate {
  const algorithm = signatureAlgorithmOf(privateKey, fields);
  const keyId = fields.subjectKeyId ?? keyIdentifier(fields.spki);
  return signCertificate(fields, {
    privateKey,
    issuer: fields.subject,
    algorithm,
    signatureAlgorithm: encodeSignatureAlgorithm(algorithm),
    extensions: [encodeAuthorityKeyIdentifier(keyId)],
  });
}

/** What certificates signed by this one name it by: its own identifier, or that of its key. */
export function subjectKeyIdOf(certificate: Pick<Certificate, "subjectKeyId" | "spki">): Uint8Array {
  return certificate.subjectKeyId ?? keyIdentifier(certificate.spki);
}

/** The leftmost 160 bits of the SHA-256 of a SubjectPublicKeyInfo's key (RFC 7093 §2 method 1). */
export function keyIdentifier(spki: Uint8Array): Uint8Array {
  const bits = subjectPublicKeyBits(spki, { code: "CERTIFICATE_INVALID" });
  return hash("sha256", bits, "buffer").subarray(0, KEY_IDENTIFIER_BYTES);
}

interface AlgorithmParts {
  readonly algorithm: SigningAlgorithm;
  readonly signatureAlgorithm: Uint8Array;
}

interface Signatory extends AlgorithmParts {
  readonly privateKey: KeyObject;
  /** DER Name. */
  readonly issuer: Uint8Array;
  readonly extensions: readonly Uint8Array[];
}

function signCertificate(fields: CertificateFields, signatory: Signatory): IssuedCertificate {
  const { algorithm, signatureAlgorithm, privateKey, issuer } = signatory;
  const serialNumber = fields.serialNumber ?? createSerialNumber();
  const keyId = fields.subjectKeyId ?? keyIdentifier(fields.spki);
  const tbs = buildTbsCertificate({
    serialNumber,
    signatureAlgorithm,
    issuer,
    notBefore: fields.notBefore,
    notAfter: fields.notAfter,
    subject: fields.subject,
    spki: fields.spki,
    extensions: [...fields.extensions, encodeSubjectKeyIdentifier(keyId), ...signatory.extensions],
  });
  return {
    der: assembleCertificate(tbs, signatureAlgorithm, signBytes(algorithm, tbs, privateKey)),
    serialNumber: hex(serialNumber),
    notBefore: wholeSeconds(fields.notBefore),
    notAfter: wholeSeconds(fields.notAfter),
  };
}

function wholeSeconds(timeMs: number): number {
  return Math.floor(timeMs / 1000) * 1000;
}
