/** Further global names of Web Crypto, for the types of `pkijs`; see examples/web-crypto.d.ts. */
import type { webcrypto } from "node:crypto";

declare global {
  type AesCbcParams = webcrypto.AesCbcParams;
  type AesCtrParams = webcrypto.AesCtrParams;
  type AesDerivedKeyParams = webcrypto.AesDerivedKeyParams;
  type AesGcmParams = webcrypto.AesGcmParams;
  type AesKeyAlgorithm = webcrypto.AesKeyAlgorithm;
  type AesKeyGenParams = webcrypto.AesKeyGenParams;
  type EcdhKeyDeriveParams = webcrypto.EcdhKeyDeriveParams;
  type HkdfParams = webcrypto.HkdfParams;
  type HmacImportParams = webcrypto.HmacImportParams;
  type HmacKeyGenParams = webcrypto.HmacKeyGenParams;
  type JsonWebKey = webcrypto.JsonWebKey;
  type KeyFormat = webcrypto.KeyFormat;
  type Pbkdf2Params = webcrypto.Pbkdf2Params;
  type RsaHashedKeyGenParams = webcrypto.RsaHashedKeyGenParams;
  type RsaOaepParams = webcrypto.RsaOaepParams;
  type RsaPssParams = webcrypto.RsaPssParams;
}
