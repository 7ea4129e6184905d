import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type ED25519KeyPairOptions,
} from "node:crypto";
import { RksError } from "@rk8s/protocol";
import { parsePublicKey } from "@rk8s/x509";

/** Bytes in memory of our own, which can be wiped, instead of key objects, which cannot. */
const ENCODING: ED25519KeyPairOptions<"der", "der"> = {
  publicKeyEncoding: { type: "spki", format: "der" },
  privateKeyEncoding: { type: "pkcs8", format: "der" },
};

/** Kinds of key that an agent may have. */
export type KeyAlgorithm = "P-256" | "Ed25519";

/** The part of a WebCrypto implementation that `importKeyPair` needs; `K` is its own kind of key. */
export interface KeyExporter<K> {
  readonly subtle: { exportKey(format: "pkcs8" | "spki", key: K): Promise<ArrayBuffer> };
}

/**
 * A key pair in this process's memory. The private key is held as PKCS#8 bytes, never as text, and disposal
 * overwrites them. Copies inside OpenSSL that a signature made are freed by OpenSSL, which clears them.
 */
export class KeyPair implements Disposable {
  readonly algorithm: KeyAlgorithm;
  /** SubjectPublicKeyInfo (DER). */
  readonly spki: Uint8Array;
  readonly #pkcs8: Buffer;
  #disposed = false;

  private constructor(algorithm: KeyAlgorithm, spki: Uint8Array, pkcs8: Buffer) {
    this.algorithm = algorithm;
    this.spki = spki;
    this.#pkcs8 = pkcs8;
  }

  /** Make a new key pair; takes a fraction of a millisecond. */
  static create(algorithm: KeyAlgorithm = "P-256"): KeyPair {
    const { publicKey, privateKey } =
      algorithm === "Ed25519"
        ? generateKeyPairSync("ed25519", ENCODING)
        : generateKeyPairSync("ec", { namedCurve: "P-256", ...ENCODING });
    return new KeyPair(algorithm, publicKey, privateKey);
  }

  /**
   * Take over a private key made elsewhere. The bytes are copied; wiping the original is the caller's part.
   * @throws {RksError} INPUT_INVALID when the bytes are no PKCS#8 key, KEY_TOO_WEAK when it is neither P-256 nor
   * Ed25519.
   */
  static fromPkcs8(pkcs8: Uint8Array): KeyPair {
    const own = Buffer.alloc(pkcs8.length);
    own.set(pkcs8);
    try {
      const spki = publicHalf(own);
      return new KeyPair(algorithmOf(spki), spki, own);
    } catch (error) {
      own.fill(0);
      throw error;
    }
  }

  /**
   * A copy of the private key, PKCS#8 in DER, in memory of its own. Whoever gets it must overwrite it after use;
   * a transport does.
   * @throws TypeError after disposal.
   */
  exportPrivateKey(): Uint8Array {
    if (this.#disposed) throw new TypeError("the key pair has been disposed");
    const copy = Buffer.alloc(this.#pkcs8.length);
    this.#pkcs8.copy(copy);
    return copy;
  }

  /** Overwrite the private key. Idempotent. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#pkcs8.fill(0);
  }
}

/**
 * Take over a key pair that another WebCrypto implementation made, `@peculiar/webcrypto` for example. The private
 * key must be extractable: the TLS stack needs its bytes.
 * @throws {RksError} KEY_TOO_WEAK when it is neither P-256 nor Ed25519; what `exportKey` throws otherwise.
 */
export async function importKeyPair<K>(
  keys: { readonly privateKey: K },
  options: { readonly crypto: KeyExporter<K> },
): Promise<KeyPair> {
  const pkcs8 = new Uint8Array(await options.crypto.subtle.exportKey("pkcs8", keys.privateKey));
  try {
    return KeyPair.fromPkcs8(pkcs8);
  } finally {
    pkcs8.fill(0);
  }
}

function publicHalf(pkcs8: Buffer): Uint8Array {
  try {
    const privateKey = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
    return createPublicKey(privateKey).export({ format: "der", type: "spki" });
  } catch {
    // The cause is left out: OpenSSL's errors have no business near a private key.
    throw new RksError("INPUT_INVALID", "the private key is not PKCS#8 in DER", {
      suggestion: "Export the key with format pkcs8.",
    });
  }
}

function algorithmOf(spki: Uint8Array): KeyAlgorithm {
  const key = parsePublicKey(spki, { code: "CSR_INVALID" });
  if (key.algorithm === "ed25519") return "Ed25519";
  if (key.algorithm === "ec" && key.curve === "P-256") return "P-256";
  throw new RksError("KEY_TOO_WEAK", `a key of kind "${key.algorithm}" is not accepted`, {
    suggestion: "Use a P-256 or an Ed25519 key.",
  });
}
