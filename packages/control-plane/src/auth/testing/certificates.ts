import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

import {
  assembleCertificate,
  assembleCrl,
  buildTbsCertificate,
  buildTbsCertList,
  encodeAuthorityKeyIdentifier,
  encodeBasicConstraints,
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeKeyUsage,
  encodeName,
  encodePem,
  encodeRevokedCertificate,
  encodeSignatureAlgorithm,
  encodeSubjectAlternativeName,
  encodeSubjectKeyIdentifier,
  type KeyUsage,
  OID,
  parseCertificate,
} from "@rk8s/x509";

/** A certificate made for a test, with its key. */
export interface TestCertificate {
  readonly der: Uint8Array;
  readonly pem: string;
  readonly key: KeyObject;
  readonly keyPem: string;
}

export interface TestCertificateInit {
  readonly commonName?: string;
  readonly organizationalUnits?: readonly string[];
  /** Itself when there is none. */
  readonly issuer?: TestCertificate;
  readonly isCa?: boolean;
  readonly pathLength?: number;
  /** None: no extension. */
  readonly keyUsage?: readonly KeyUsage[];
  readonly extendedKeyUsage?: readonly string[];
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  readonly emails?: readonly string[];
  readonly uris?: readonly string[];
  readonly serialNumber?: Uint8Array;
  /** Encoded, put behind the others. */
  readonly extensions?: readonly Uint8Array[];
  /** Of another certificate, to be certified once more. */
  readonly key?: KeyObject;
}

/** When the certificates of tests begin and end unless a test says otherwise. */
const VALID_FROM = Date.UTC(2020, 0, 1);
const VALID_TO = Date.UTC(2040, 0, 1);

/** Make a certificate by a P-256 key: of a CA without an issuer, of a TLS client under one. */
export function aCertificate(init: TestCertificateInit = {}): TestCertificate {
  const isCa = init.isCa ?? init.issuer === undefined;
  const key = init.key ?? generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const jwk = key.export({ format: "jwk" }) as { readonly x: string; readonly y: string };
  const point = Buffer.concat([
    Buffer.of(4),
    Buffer.from(jwk.x, "base64url"),
    Buffer.from(jwk.y, "base64url"),
  ]);
  const spki = Buffer.concat([
    Buffer.from("3059301306072a8648ce3d020106082a8648ce3d030107034200", "hex"),
    point,
  ]);
  const subject = encodeName([
    ...(init.organizationalUnits ?? []).map((value) => ({ type: OID.organizationalUnitName, value })),
    ...(init.commonName === "" ? [] : [{ type: OID.commonName, value: init.commonName ?? "test" }]),
  ]);
  const parent = init.issuer === undefined ? undefined : parseCertificate(init.issuer.der);
  const algorithm = encodeSignatureAlgorithm("ecdsa-sha256");
  const keyUsage = init.keyUsage ?? (isCa ? ["keyCertSign", "cRLSign"] : ["digitalSignature"]);
  const usages = init.extendedKeyUsage ?? (isCa ? [] : [OID.clientAuth]);
  const keyId = createHash("sha1").update(point).digest();
  const { dnsNames = [], ipAddresses = [], emails = [], uris = [] } = init;
  const names = { dnsNames, ipAddresses, emails, uris };
  const hasNames = Object.values(names).some((list) => list.length > 0);
  const tbs = buildTbsCertificate({
    serialNumber: init.serialNumber ?? Buffer.concat([Buffer.of(1), randomBytes(8)]),
    signatureAlgorithm: algorithm,
    issuer: parent?.subject.der ?? subject,
    notBefore: init.notBefore ?? VALID_FROM,
    notAfter: init.notAfter ?? VALID_TO,
    subject,
    spki,
    extensions: [
      encodeBasicConstraints({ isCa, pathLength: init.pathLength }),
      ...(keyUsage.length === 0 ? [] : [encodeKeyUsage(keyUsage)]),
      ...(usages.length === 0 ? [] : [encodeExtendedKeyUsage(usages)]),
      encodeSubjectKeyIdentifier(keyId),
      ...(parent?.subjectKeyId === undefined ? [] : [encodeAuthorityKeyIdentifier(parent.subjectKeyId)]),
      ...(hasNames
        ? [
            encodeExtension({
              oid: OID.subjectAltName,
              critical: false,
              value: encodeSubjectAlternativeName(names),
            }),
          ]
        : []),
      ...(init.extensions ?? []),
    ],
  });
  const der = assembleCertificate(tbs, algorithm, sign("sha256", tbs, init.issuer?.key ?? key));
  const keyPem = key.export({ type: "pkcs8", format: "pem" }) as string;
  return { der, pem: encodePem("CERTIFICATE", der), key, keyPem };
}

/** A CRL of a CA, in PEM. */
export function aCrl(issuer: TestCertificate, revoked: readonly TestCertificate[]): string {
  const algorithm = encodeSignatureAlgorithm("ecdsa-sha256");
  const certificate = parseCertificate(issuer.der);
  const tbs = buildTbsCertList({
    signatureAlgorithm: algorithm,
    issuer: certificate.subject.der,
    thisUpdate: VALID_FROM,
    nextUpdate: VALID_TO,
    crlNumber: 1,
    entries: revoked.map(({ der }) =>
      encodeRevokedCertificate({
        serialNumber: Buffer.from(parseCertificate(der).serialNumber, "hex"),
        revocationTimeMs: VALID_FROM,
      }),
    ),
    ...(certificate.subjectKeyId === undefined ? {} : { authorityKeyId: certificate.subjectKeyId }),
  });
  return encodePem("X509 CRL", assembleCrl(tbs, algorithm, sign("sha256", tbs, issuer.key)));
}
