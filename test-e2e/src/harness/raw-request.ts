import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import {
  assembleCertificateRequest,
  buildCertificateRequestInfo,
  encodeBasicConstraints,
  encodeContextPrimitive,
  encodeExtension,
  encodeName,
  encodeSequence,
  encodeSignatureAlgorithm,
  OID,
  type SignatureAlgorithm,
} from "@rk8s/x509";

/** A key pair of any kind, weak ones included. */
export interface RawKey {
  readonly spki: Uint8Array;
  readonly pkcs8: Uint8Array;
  readonly privateKey: KeyObject;
  readonly algorithm: SignatureAlgorithm;
}

type Made = { readonly publicKey: KeyObject; readonly privateKey: KeyObject };

/** A key as agents make it. */
export function aKey(namedCurve = "P-256"): RawKey {
  return rawKey(generateKeyPairSync("ec", { namedCurve }), "ecdsa-sha256");
}

/** An RSA key of any size and exponent. */
export function anRsaKey(modulusLength: number, publicExponent = 65_537): RawKey {
  return rawKey(generateKeyPairSync("rsa", { modulusLength, publicExponent }), "rsa-sha256");
}

/** A key of a kind that no rks takes. */
export function anEd448Key(): RawKey {
  return rawKey(generateKeyPairSync("ed448"), "ed25519");
}

function rawKey({ publicKey, privateKey }: Made, algorithm: SignatureAlgorithm): RawKey {
  return {
    spki: publicKey.export({ format: "der", type: "spki" }),
    pkcs8: privateKey.export({ format: "der", type: "pkcs8" }),
    privateKey,
    algorithm,
  };
}

/** What a certification request asks for, and who signs it. */
export interface RawRequest {
  readonly key: RawKey;
  /** Default: the key itself, as it should be. */
  readonly signer?: RawKey;
  readonly commonNames?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly uris?: readonly string[];
  /** IPv4. */
  readonly ipAddresses?: readonly string[];
  readonly isCa?: boolean;
  /** Pad the request to about this many bytes. */
  readonly bytes?: number;
  /** Turn a bit of what is signed, before it is signed. */
  readonly turnedBit?: number;
}

/** A PKCS#10 request in DER that is as right or wrong as it is asked to be. */
export function aRequest(request: RawRequest): Uint8Array {
  const { key, signer = key, commonNames = [], dnsNames = [], uris = [], ipAddresses = [] } = request;
  const extensions: Uint8Array[] = [];
  if (dnsNames.length + uris.length + ipAddresses.length > 0) {
    // By hand: our own encoder refuses names that no certificate carries.
    const value = encodeSequence(
      ...dnsNames.map((name) => encodeContextPrimitive(2, Buffer.from(name))),
      ...uris.map((uri) => encodeContextPrimitive(6, Buffer.from(uri))),
      ...ipAddresses.map((address) => encodeContextPrimitive(7, Buffer.from(address.split(".").map(Number)))),
    );
    extensions.push(encodeExtension({ oid: OID.subjectAltName, critical: false, value }));
  }
  if (request.isCa === true) extensions.push(encodeBasicConstraints({ isCa: true, pathLength: undefined }));
  if (request.bytes !== undefined) {
    const value = new Uint8Array(request.bytes);
    extensions.push(encodeExtension({ oid: "1.3.6.1.4.1.99999.1", critical: false, value }));
  }
  const tbs = buildCertificateRequestInfo({
    subject: encodeName(commonNames.map((value) => ({ type: OID.commonName, value }))),
    spki: key.spki,
    extensions,
  });
  if (request.turnedBit !== undefined) turnBit(tbs, request.turnedBit);
  const { privateKey, algorithm } = signer;
  const hash = algorithm === "ed25519" ? null : "sha256";
  return assembleCertificateRequest(tbs, encodeSignatureAlgorithm(algorithm), sign(hash, tbs, privateKey));
}

/** Turn one bit of the bytes, counted from the first and around. */
export function turnBit(bytes: Uint8Array, at: number): void {
  bytes[(at >> 3) % bytes.length]! ^= 1 << (at & 7);
}
