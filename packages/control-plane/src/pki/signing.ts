import { constants, createPublicKey, type JsonWebKey, type KeyObject, sign, verify } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import type {
  CertificateRequest,
  PublicKeyInfo,
  RsaPssAlgorithm,
  SignatureAlgorithm,
  SignatureAlgorithmIdentifier,
} from "@rk8s/x509";
import { ProofThread, type SignatureProof } from "./proof-thread.js";

/** NIST SP 800-131A: less than 2048 bits is disallowed. */
const MIN_RSA_BITS = 2048;
/** A verification with more costs milliseconds of the event loop, and who sends it chooses how many. */
const MAX_RSA_BITS = 4096;
/** Small exponents have a history of broken padding checks; large ones make verification slow. */
const MIN_RSA_EXPONENT = 65_537;
const MAX_RSA_EXPONENT_BYTES = 4;

/** Every algorithm that a certificate, a CRL or an OCSP answer of this vault can be signed with. */
export type SigningAlgorithm = SignatureAlgorithm | RsaPssAlgorithm;

/** Hash of each signature algorithm as node:crypto names it; Ed25519 hashes by itself. */
const HASHES: Readonly<Record<SigningAlgorithm, string | null>> = {
  "ecdsa-sha256": "sha256",
  "ecdsa-sha384": "sha384",
  "ecdsa-sha512": "sha512",
  ed25519: null,
  "rsa-sha256": "sha256",
  "rsa-sha384": "sha384",
  "rsa-sha512": "sha512",
  "rsa-pss-sha256": "sha256",
  "rsa-pss-sha384": "sha384",
  "rsa-pss-sha512": "sha512",
};

const PSS = {
  padding: constants.RSA_PKCS1_PSS_PADDING,
  saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
} as const;

/** How the names of the algorithms of a type of key begin; none begins with "-". */
const ALGORITHM_PREFIXES = { ec: "ecdsa-", ed25519: "ed25519", rsa: "rsa-", other: "-" } as const;

/** By curve as OpenSSL names it; the hash is as strong as the curve (RFC 5480 §4). */
const EC_ALGORITHMS: ReadonlyMap<string, SignatureAlgorithm> = new Map([
  ["prime256v1", "ecdsa-sha256"],
  ["secp384r1", "ecdsa-sha384"],
  ["secp521r1", "ecdsa-sha512"],
]);

/** How to hash and pad for RSA; the other types of key look at the bits of the hash at most. */
export interface SignatureOptions {
  /** 256, 384 or 512; 0 or nothing: 256. EC keys have the hash of their curve's strength, Ed25519 has none. */
  readonly signatureBits?: number | undefined;
  /** For RSA: PSS instead of PKCS#1 v1.5 (RFC 8017 §8.1). */
  readonly usePss?: boolean | undefined;
}

/** Sign bytes; ECDSA signatures come in DER (RFC 3279 §2.2.3), PSS salts are as long as the hash (RFC 4055 §3.1). */
export function signBytes(algorithm: SigningAlgorithm, bytes: Uint8Array, key: KeyObject): Uint8Array {
  return sign(HASHES[algorithm], bytes, algorithm.startsWith("rsa-pss-") ? { key, ...PSS } : key);
}

/** The algorithm that a CA key signs with: by curve for EC, with SHA-256 for RSA unless the options say otherwise. */
export function signatureAlgorithmOf(key: KeyObject, options: SignatureOptions = {}): SigningAlgorithm {
  const { signatureBits = 0, usePss = false } = options;
  const type = key.asymmetricKeyType;
  if (type === "ed25519") return "ed25519";
  if (type === "rsa") {
    const bits = signatureBits === 384 || signatureBits === 512 ? signatureBits : 256;
    return usePss ? `rsa-pss-sha${bits}` : `rsa-sha${bits}`;
  }
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (type !== "ec" || curve === undefined)
    throw new TypeError(`a key of type "${type}" cannot sign certificates`);
  return EC_ALGORITHMS.get(curve) ?? "ecdsa-sha256";
}

/** Whether the holder of `signer`'s key signed these bytes; false also for algorithms and keys that are not supported. */
export function isSignedBy(
  signed: {
    readonly tbs: Uint8Array;
    readonly signature: Uint8Array;
    readonly signatureAlgorithm: Pick<SignatureAlgorithmIdentifier, "name" | "rsaPss">;
  },
  signer: PublicKeyInfo,
): boolean {
  const { name, rsaPss } = signed.signatureAlgorithm;
  const algorithm = name ?? rsaPss;
  if (algorithm?.startsWith(ALGORITHM_PREFIXES[signer.algorithm]) !== true) return false;
  try {
    const key = importPublicKey(signer);
    const options = rsaPss === undefined ? key : { key, ...PSS };
    return verify(HASHES[algorithm], signed.tbs, options, signed.signature);
  } catch {
    return false;
  }
}

/**
 * Refuse keys that nobody should use any more or that cost too much to check: allowed are EC P-256, P-384, P-521,
 * Ed25519, and RSA of 2048–4096 bits with an odd public exponent from 65537 to 2^32.
 * @throws {RksError} KEY_TOO_WEAK.
 */
export function assertKeyStrength(key: PublicKeyInfo): void {
  if (key.algorithm === "other") throw tooWeak(`public key algorithm or curve "${key.oid}" is not supported`);
  if (key.algorithm !== "rsa") return;
  if (key.bits < MIN_RSA_BITS || key.bits > MAX_RSA_BITS) {
    throw tooWeak(`RSA key of ${key.bits} bits is not between ${MIN_RSA_BITS} and ${MAX_RSA_BITS} bits`);
  }
  const { exponent, modulus } = key;
  const value = exponent.reduce((sum, byte) => sum * 256 + byte, 0);
  if (exponent.length > MAX_RSA_EXPONENT_BYTES || value < MIN_RSA_EXPONENT || value % 2 === 0) {
    throw tooWeak(`RSA key has a public exponent that is not odd and between ${MIN_RSA_EXPONENT} and 2^32`);
  }
  if ((modulus.at(-1) ?? 0) % 2 === 0) throw tooWeak("RSA key has an even modulus");
}

/**
 * Check that whoever made the request holds its private key (RFC 2986 §4.2). The key's strength is checked first. The event
 * loop waits: see `proveKeyAside`.
 * @throws {RksError} KEY_TOO_WEAK; CSR_INVALID when the key is no point of its curve, the signature's algorithm does not fit
 * the key or is not one of SHA-2 or Ed25519, or the signature is wrong.
 */
export function assertProofOfPossession(request: CertificateRequest): void {
  const { tbs, signature, publicKey, signatureAlgorithm } = request;
  const hash = hashOfProof(request);
  const key = importPublicKey(publicKey);
  assertFits(verify(hash, tbs, signatureAlgorithm.rsaPss === undefined ? key : { key, ...PSS }, signature));
}

/** One for the process, like the threads that Node has for such work. */
const proofThread = new ProofThread();

/**
 * As `assertProofOfPossession` on another thread, for it is the dearest part of signing a request.
 * @throws {RksError} as `assertProofOfPossession`; BUSY.
 */
export async function proveKeyAside(request: CertificateRequest): Promise<void> {
  const { publicKey, signatureAlgorithm } = request;
  const hash = hashOfProof(request);
  const pss = signatureAlgorithm.rsaPss === undefined ? undefined : PSS;
  await verifyAside({ ...request, hash, key: { format: "jwk", key: jwkOf(publicKey) }, pss });
}

/**
 * Verify the signature of a request on another thread.
 * @throws {RksError} CSR_INVALID when its key is none or did not sign it; BUSY.
 */
export async function verifyAside({ hash, key, pss, tbs, signature }: SignatureProof): Promise<void> {
  const outcome = await proofThread.verify({ hash, key, pss, tbs, signature });
  if (outcome === "no key") throw notOnCurve();
  assertFits(outcome === "fits");
}

/** The hash that a request's signature is to be verified with. @throws as `assertProofOfPossession`. */
function hashOfProof({ publicKey, signatureAlgorithm }: CertificateRequest): string | null {
  assertKeyStrength(publicKey);
  const algorithm = signatureAlgorithm.name ?? signatureAlgorithm.rsaPss;
  if (algorithm?.startsWith(ALGORITHM_PREFIXES[publicKey.algorithm]) !== true) {
    throw csrInvalid(`its signature algorithm "${algorithm ?? signatureAlgorithm.oid}" does not fit its key`);
  }
  return HASHES[algorithm];
}

function assertFits(fits: boolean): void {
  if (!fits) throw csrInvalid("its signature does not fit its key");
}

/** A renewal checks two signatures by one key, and importing it costs as much as checking one. */
const importedKeys = new WeakMap<PublicKeyInfo, KeyObject>();

/** Import by JWK: on Node 20 several times faster than by SPKI (OpenSSL 3.0's decoder is slow). */
function importPublicKey(key: PublicKeyInfo): KeyObject {
  let imported = importedKeys.get(key);
  if (imported === undefined) {
    try {
      imported = createPublicKey({ key: jwkOf(key), format: "jwk" });
    } catch (cause) {
      throw notOnCurve(cause);
    }
    importedKeys.set(key, imported);
  }
  return imported;
}

function jwkOf(key: PublicKeyInfo): JsonWebKey {
  if (key.algorithm === "ec") return { kty: "EC", crv: key.curve, x: base64Url(key.x), y: base64Url(key.y) };
  if (key.algorithm === "ed25519") return { kty: "OKP", crv: "Ed25519", x: base64Url(key.key) };
  if (key.algorithm === "rsa") return { kty: "RSA", n: base64Url(key.modulus), e: base64Url(key.exponent) };
  throw tooWeak(`public key algorithm or curve "${key.oid}" is not supported`);
}

function base64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64url");
}

function tooWeak(problem: string): RksError {
  return new RksError("KEY_TOO_WEAK", problem, {
    suggestion: "Make a new key: EC P-256, P-384 or P-521, Ed25519, or RSA with 2048 to 4096 bits.",
  });
}

function notOnCurve(cause?: unknown): RksError {
  return csrInvalid("its public key is not on its curve", cause);
}

function csrInvalid(problem: string, cause?: unknown): RksError {
  return new RksError("CSR_INVALID", `certificate request is refused: ${problem}`, {
    cause,
    suggestion: "Make a new request and sign it with the key it is for.",
  });
}
