import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import {
  assembleCertificateRequest,
  buildCertificateRequestInfo,
  encodeBitString,
  encodeName,
  encodeNull,
  encodeOid,
  encodeSequence,
  encodeSignatureAlgorithm,
  encodeSmallInteger,
  encodeUnsignedInteger,
  OID,
  parseCertificateRequest,
  type SignatureAlgorithm,
} from "@rk8s/x509";
import { expect, test } from "vitest";
import { assertProofOfPossession, proveKeyAside, signatureAlgorithmOf, signBytes } from "./signing.js";

interface Pair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** RSA keys take a while to make, more so on a busy machine. */
const RSA_TIMEOUT_MS = 30_000;

const ec = (namedCurve: string): Pair => generateKeyPairSync("ec", { namedCurve });
const rsa = (modulusLength: number, publicExponent = 65_537): Pair =>
  generateKeyPairSync("rsa", { modulusLength, publicExponent });
const p256 = ec("P-256");

function aCsr(pair: Pair, algorithm: SignatureAlgorithm, change?: (spki: Buffer) => void): Uint8Array {
  const spki = pair.publicKey.export({ type: "spki", format: "der" });
  change?.(spki);
  const tbs = buildCertificateRequestInfo({ subject: encodeName([]), spki, extensions: [] });
  const hash = algorithm === "ed25519" ? null : `sha${algorithm.slice(-3)}`;
  return assembleCertificateRequest(
    tbs,
    encodeSignatureAlgorithm(algorithm),
    sign(hash, tbs, pair.privateKey),
  );
}

/** Both forms of the check; they must agree. */
async function judge(csr: Uint8Array): Promise<string> {
  const request = parseCertificateRequest(csr);
  const atOnce = await outcome(() => assertProofOfPossession(request));
  expect(await outcome(() => proveKeyAside(request))).toBe(atOnce);
  return atOnce;
}

async function outcome(check: () => void | Promise<void>): Promise<string> {
  try {
    await check();
    return "accepted";
  } catch (error) {
    return error instanceof RksError ? error.code : String(error);
  }
}

test.each<{ name: string; pair: () => Pair; algorithm: SignatureAlgorithm; result: string }>([
  { name: "P-256 with SHA-256", pair: () => p256, algorithm: "ecdsa-sha256", result: "accepted" },
  { name: "P-256 with SHA-512", pair: () => p256, algorithm: "ecdsa-sha512", result: "accepted" },
  { name: "P-384", pair: () => ec("P-384"), algorithm: "ecdsa-sha384", result: "accepted" },
  { name: "P-521", pair: () => ec("P-521"), algorithm: "ecdsa-sha512", result: "accepted" },
  { name: "Ed25519", pair: () => generateKeyPairSync("ed25519"), algorithm: "ed25519", result: "accepted" },
  { name: "RSA-2048", pair: () => rsa(2048), algorithm: "rsa-sha256", result: "accepted" },
  { name: "RSA-3072", pair: () => rsa(3072), algorithm: "rsa-sha384", result: "accepted" },
  { name: "RSA-1024", pair: () => rsa(1024), algorithm: "rsa-sha256", result: "KEY_TOO_WEAK" },
  { name: "RSA-2047", pair: () => rsa(2047), algorithm: "rsa-sha256", result: "KEY_TOO_WEAK" },
  {
    name: "RSA-2048 with exponent 3",
    pair: () => rsa(2048, 3),
    algorithm: "rsa-sha256",
    result: "KEY_TOO_WEAK",
  },
  { name: "P-224", pair: () => ec("secp224r1"), algorithm: "ecdsa-sha256", result: "KEY_TOO_WEAK" },
  { name: "secp256k1", pair: () => ec("secp256k1"), algorithm: "ecdsa-sha256", result: "KEY_TOO_WEAK" },
  { name: "Ed448", pair: () => generateKeyPairSync("ed448"), algorithm: "ed25519", result: "KEY_TOO_WEAK" },
])(
  "a request with $name: $result",
  async ({ pair, algorithm, result }) => {
    expect(await judge(aCsr(pair(), algorithm))).toBe(result);
  },
  RSA_TIMEOUT_MS,
);

test("a request with an RSA key above 4096 bits is refused before its signature is looked at", async () => {
  const modulus = encodeUnsignedInteger(new Uint8Array(640).fill(0xc5));
  const key = encodeBitString(encodeSequence(modulus, encodeSmallInteger(65_537)));
  const spki = encodeSequence(encodeSequence(encodeOid(OID.rsaEncryption), encodeNull()), key);
  const tbs = buildCertificateRequestInfo({ subject: encodeName([]), spki, extensions: [] });
  const csr = assembleCertificateRequest(tbs, encodeSignatureAlgorithm("rsa-sha256"), new Uint8Array(640));
  expect(await judge(csr)).toBe("KEY_TOO_WEAK");
});

test("a key that is no point of its curve is refused", async () => {
  expect(await judge(aCsr(p256, "ecdsa-sha256", (spki) => void spki.subarray(-64).fill(1)))).toBe(
    "CSR_INVALID",
  );
  expect(await judge(aCsr(p256, "ecdsa-sha256", (spki) => void spki.subarray(-64).fill(0)))).toBe(
    "CSR_INVALID",
  );
});

test("a request signed by another key, or said to be signed in another way, is refused", async () => {
  const other = ec("P-256");
  const csr = aCsr({ publicKey: p256.publicKey, privateKey: other.privateKey }, "ecdsa-sha256");
  expect(await judge(csr)).toBe("CSR_INVALID");
  const { tbs, signature } = parseCertificateRequest(aCsr(p256, "ecdsa-sha256"));
  expect(await judge(assembleCertificateRequest(tbs, encodeSignatureAlgorithm("ed25519"), signature))).toBe(
    "CSR_INVALID",
  );
  expect(
    await judge(assembleCertificateRequest(tbs, encodeSignatureAlgorithm("rsa-sha256"), signature)),
  ).toBe("CSR_INVALID");
  expect(
    await judge(assembleCertificateRequest(tbs, encodeSignatureAlgorithm("ecdsa-sha384"), signature)),
  ).toBe("CSR_INVALID");
  const sha1 = encodeSequence(encodeOid("1.2.840.10045.4.1"));
  expect(await judge(assembleCertificateRequest(tbs, sha1, sign("sha1", tbs, p256.privateKey)))).toBe(
    "CSR_INVALID",
  );
  expect(
    await judge(assembleCertificateRequest(tbs, encodeSignatureAlgorithm("ecdsa-sha256"), new Uint8Array())),
  ).toBe("CSR_INVALID");
});

test.each<{ name: string; pair: () => Pair; bits?: number; algorithm: SignatureAlgorithm }>([
  { name: "P-256", pair: () => p256, algorithm: "ecdsa-sha256" },
  { name: "P-384", pair: () => ec("P-384"), algorithm: "ecdsa-sha384" },
  { name: "P-521", pair: () => ec("P-521"), algorithm: "ecdsa-sha512" },
  { name: "Ed25519", pair: () => generateKeyPairSync("ed25519"), algorithm: "ed25519" },
  { name: "RSA", pair: () => rsa(2048), algorithm: "rsa-sha256" },
  { name: "RSA with signature_bits 384", pair: () => rsa(2048), bits: 384, algorithm: "rsa-sha384" },
  { name: "P-256 with signature_bits 512", pair: () => p256, bits: 512, algorithm: "ecdsa-sha256" },
])(
  "a CA with $name signs with $algorithm",
  ({ pair, bits, algorithm }) => {
    const { privateKey } = pair();
    expect(signatureAlgorithmOf(privateKey, { signatureBits: bits })).toBe(algorithm);
    expect(signBytes(algorithm, Uint8Array.of(1), privateKey).length).toBeGreaterThan(60);
  },
  RSA_TIMEOUT_MS,
);
