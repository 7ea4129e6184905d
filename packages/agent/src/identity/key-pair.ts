import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import { parsePublicKey } from "@rk8s/x509";
import { collectSoon } from "./collect-soon.js";

/** Kinds of key that an agent may have. */
export type KeyAlgorithm = "P-256" | "Ed25519";

/** The part of a WebCrypto implementation that `importKeyPair` needs; `K` is its own kind of key. */
export interface KeyExporter<K> {
  readonly subtle: { exportKey(format: "pkcs8" | "spki", key: K): Promise<ArrayBuffer> };
}

/**
 * A key pair in this process's memory. The private key is held by OpenSSL alone, once, in locked memory where node runs
 * with `--secure-heap`; it is never text. Disposal drops it, and OpenSSL clears it when the garbage collector has come
 * by: within seconds where node runs with `--expose-gc`, as `rkl pod daemon` does.
 */
export class KeyPair implements Disposable {
  readonly algorithm: KeyAlgorithm;
  /** SubjectPublicKeyInfo (DER). */
  readonly spki: Uint8Array;
  #key: KeyObject | undefined;

  private constructor(algorithm: KeyAlgorithm, spki: Uint8Array, key: KeyObject) {
    this.algorithm = algorithm;
    this.spki = spki;
    this.#key = key;
  }

  /** Make a new key pair; takes a fraction of a millisecond. */
  static create(algorithm: KeyAlgorithm = "P-256"): KeyPair {
    const { publicKey, privateKey } = generate(algorithm);
    return new KeyPair(algorithm, publicKey.export({ format: "der", type: "spki" }), privateKey);
  }

  /**
   * Take over a private key made elsewhere. The bytes are read; wiping them is the caller's part.
   * @throws {RksError} INPUT_INVALID when the bytes are no PKCS#8 key, KEY_TOO_WEAK when it is neither P-256 nor
   * Ed25519.
   */
  static fromPkcs8(pkcs8: Uint8Array): KeyPair {
    const key = importDer(pkcs8);
    const spki = createPublicKey(key).export({ format: "der", type: "spki" });
    const algorithm = algorithmOf(spki);
    importDer(exportThrowaway(algorithm));
    return new KeyPair(algorithm, spki, key);
  }

  /** Sign with the private key: ECDSA over SHA-256 in DER, or Ed25519. @throws TypeError after disposal. */
  sign(data: Uint8Array): Uint8Array {
    return sign(this.algorithm === "Ed25519" ? null : "sha256", data, this.#alive());
  }

  /**
   * A copy of the private key, PKCS#8 in DER, in memory of its own. Whoever gets it must overwrite it after use;
   * a transport does.
   * @throws TypeError after disposal.
   */
  exportPrivateKey(): Uint8Array {
    const copy = exportDer(this.#alive());
    exportThrowaway(this.algorithm);
    return copy;
  }

  /** Drop the private key. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#key === undefined) return;
    this.#key = undefined;
    collectSoon();
  }

  #alive(): KeyObject {
    if (this.#key === undefined) throw new TypeError("the key pair has been disposed");
    return this.#key;
  }
}

/** Keys that protect nothing; see `exportThrowaway`. */
const throwaways = new Map<KeyAlgorithm, KeyObject>();

/**
 * OpenSSL reads and writes DER through buffers that it frees without clearing them. Doing the same at once with another
 * key of the same kind takes the same buffers, and overwrites what was left there.
 */
function exportThrowaway(algorithm: KeyAlgorithm): Uint8Array {
  const key = throwaways.get(algorithm) ?? generate(algorithm).privateKey;
  throwaways.set(algorithm, key);
  return exportDer(key);
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

function generate(algorithm: KeyAlgorithm): {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
} {
  return algorithm === "Ed25519"
    ? generateKeyPairSync("ed25519")
    : generateKeyPairSync("ec", { namedCurve: "P-256" });
}

function exportDer(key: KeyObject): Uint8Array {
  return key.export({ format: "der", type: "pkcs8" });
}

function importDer(pkcs8: Uint8Array): KeyObject {
  try {
    const key = Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.byteLength); // no copy
    return createPrivateKey({ key, format: "der", type: "pkcs8" });
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
