import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import {
  assembleCertificateRequest,
  buildCertificateRequestInfo,
  encodeExtension,
  encodeName,
  encodePem,
  encodeSignatureAlgorithm,
  encodeSubjectAlternativeName,
  type NameAttribute,
  OID,
} from "@rk8s/x509";

/** A key pair of any kind that node:crypto makes. */
export interface TestKey {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export interface CsrInit {
  readonly key: TestKey;
  readonly commonName?: string;
  readonly attributes?: readonly NameAttribute[];
  readonly names?: Parameters<typeof encodeSubjectAlternativeName>[0];
  /** DER extensions to ask for besides the names. */
  readonly extensions?: readonly Uint8Array[];
}

const EC_CURVES: Readonly<Record<number, string>> = {
  224: "secp224r1",
  256: "prime256v1",
  384: "secp384r1",
  521: "secp521r1",
};

/** Make a key by Vault's words for it; RSA takes a while. */
export function aKey(type: string, bits = 0): TestKey {
  if (type === "rsa") return generateKeyPairSync("rsa", { modulusLength: bits || 2048 });
  if (type === "ed25519") return generateKeyPairSync("ed25519");
  return generateKeyPairSync("ec", { namedCurve: EC_CURVES[bits || 256] ?? "prime256v1" });
}

/** A PEM PKCS#10 request, signed by its key. */
export function aCsr(init: CsrInit): string {
  const { key, commonName, attributes = [], names, extensions = [] } = init;
  const cn = commonName === undefined ? [] : [{ type: OID.commonName, value: commonName }];
  const san =
    names === undefined
      ? []
      : [
          encodeExtension({
            oid: OID.subjectAltName,
            critical: false,
            value: encodeSubjectAlternativeName(names),
          }),
        ];
  const tbs = buildCertificateRequestInfo({
    subject: encodeName([...attributes, ...cn]),
    spki: key.publicKey.export({ type: "spki", format: "der" }),
    extensions: [...san, ...extensions],
  });
  const type = key.privateKey.asymmetricKeyType;
  const algorithm = type === "ed25519" ? "ed25519" : type === "rsa" ? "rsa-sha256" : "ecdsa-sha256";
  const hash = algorithm === "ed25519" ? null : "sha256";
  const signature = sign(hash, tbs, key.privateKey);
  const der = assembleCertificateRequest(tbs, encodeSignatureAlgorithm(algorithm), signature);
  return encodePem("CERTIFICATE REQUEST", der);
}
