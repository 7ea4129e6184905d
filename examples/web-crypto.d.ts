/**
 * The global names of Web Crypto that the types of `@peculiar/x509` and `@peculiar/webcrypto` use. TypeScript has them in its `dom` library,
 * which would bring every browser API along; Node's own types keep them in a namespace.
 */
import type { webcrypto } from "node:crypto";

declare global {
  type Algorithm = webcrypto.Algorithm;
  type AlgorithmIdentifier = webcrypto.AlgorithmIdentifier;
  type BufferSource = webcrypto.BufferSource;
  // Without `CryptoKey`, a constructor that only Node has here.
  type Crypto = Omit<webcrypto.Crypto, "CryptoKey">;
  type CryptoKey = webcrypto.CryptoKey;
  type CryptoKeyPair = webcrypto.CryptoKeyPair;
  type EcdsaParams = webcrypto.EcdsaParams;
  type EcKeyGenParams = webcrypto.EcKeyGenParams;
  type EcKeyImportParams = webcrypto.EcKeyImportParams;
  type KeyAlgorithm = webcrypto.KeyAlgorithm;
  type KeyType = webcrypto.KeyType;
  type KeyUsage = webcrypto.KeyUsage;
  type RsaHashedImportParams = webcrypto.RsaHashedImportParams;
  type SubtleCrypto = webcrypto.SubtleCrypto;
}
