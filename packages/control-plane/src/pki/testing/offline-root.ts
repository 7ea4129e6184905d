import {
  type Certificate,
  encodeBasicConstraints,
  encodeKeyUsage,
  encodeName,
  encodePem,
  type KeyUsage,
  OID,
  parseCertificate,
  parseCertificateRequest,
} from "@rk8s/x509";
import { CertificateAuthority, selfSign } from "../certificate-authority.js";
import { createFastKeyPair, type KeySpec } from "../key-pair.js";

const YEAR_MS = 365 * 86_400_000;
const USAGES: readonly KeyUsage[] = ["keyCertSign", "cRLSign"];

/** What a certificate of an authority says; everything has a default that is accepted. */
export interface AuthorityFields {
  readonly commonName?: string;
  /** DER; in place of what was asked for. */
  readonly spki?: Uint8Array;
  readonly isCa?: boolean;
  readonly pathLength?: number | undefined;
  readonly keyUsage?: readonly KeyUsage[];
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** DER. */
  readonly moreExtensions?: readonly Uint8Array[];
}

/** The root that operators keep elsewhere, as far as tests sign with it. */
export class OfflineRoot {
  readonly certificate: Certificate;
  readonly #authority: CertificateAuthority;
  readonly #now: number;

  constructor(
    now: number,
    fields: AuthorityFields & { readonly key?: Exclude<KeySpec, { readonly type: "rsa" }> } = {},
  ) {
    const { commonName = "offline root", key = { type: "ec", bits: 384 } } = fields;
    const { privateKey, spki } = createFastKeyPair(key);
    const subject = encodeName([{ type: OID.commonName, value: commonName }]);
    const dates = { notBefore: now - 3_600_000, notAfter: now + 10 * YEAR_MS };
    const made = selfSign(privateKey, {
      ...dates,
      ...fields,
      subject,
      spki,
      extensions: extensionsOf({ pathLength: undefined, ...fields }),
    });
    this.#now = now;
    this.certificate = parseCertificate(made.der);
    // What is no authority's cannot sign, and is only looked at.
    const signer = this.certificate.isCa ? this.certificate : { ...this.certificate, isCa: true };
    this.#authority = new CertificateAuthority(signer, privateKey);
  }

  get pem(): string {
    return encodePem("CERTIFICATE", this.certificate.der);
  }

  /** Sign a request (DER), or something else with its name and key. DER. */
  sign(csr: Uint8Array, fields: AuthorityFields = {}): Uint8Array {
    const { subject, spki } = parseCertificateRequest(csr);
    const { commonName } = fields;
    return this.#issue(
      {
        subject:
          commonName === undefined ? subject.der : encodeName([{ type: OID.commonName, value: commonName }]),
        spki,
      },
      { pathLength: 0, ...fields },
    );
  }

  /** Another root's name and key, signed by this one. PEM. */
  crossSign({ certificate }: OfflineRoot, fields: AuthorityFields = {}): string {
    const { subject, spki } = certificate;
    return encodePem(
      "CERTIFICATE",
      this.#issue({ subject: subject.der, spki }, { pathLength: 1, ...fields }),
    );
  }

  /** What operators bring back for a request (DER): the intermediate and this root, PEM. */
  answer(csr: Uint8Array, fields: AuthorityFields = {}): string {
    return encodePem("CERTIFICATE", this.sign(csr, fields)) + this.pem;
  }

  #issue(
    of: { readonly subject: Uint8Array; readonly spki: Uint8Array },
    fields: AuthorityFields,
  ): Uint8Array {
    const dates = { notBefore: this.#now - 60_000, notAfter: this.#now + YEAR_MS };
    const { notBefore, notAfter, spki } = { ...dates, ...of, ...fields };
    return this.#authority.sign({
      subject: of.subject,
      spki,
      notBefore,
      notAfter,
      extensions: extensionsOf(fields),
    }).der;
  }
}

function extensionsOf({
  isCa = true,
  pathLength,
  keyUsage = USAGES,
  moreExtensions = [],
}: AuthorityFields): readonly Uint8Array[] {
  return [
    encodeBasicConstraints({ isCa, pathLength: isCa ? pathLength : undefined }),
    ...(keyUsage.length === 0 ? [] : [encodeKeyUsage(keyUsage)]),
    ...moreExtensions,
  ];
}
