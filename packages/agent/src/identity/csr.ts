import { webcrypto } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import { parseCertificateRequest } from "@rk8s/x509";
import type { KeyAlgorithm, KeyPair } from "./key-pair.js";

const WEB_ALGORITHMS = {
  "P-256": {
    key: { name: "ECDSA", namedCurve: "P-256" },
    signature: { name: "ECDSA", hash: "SHA-256" },
  },
  Ed25519: { key: { name: "Ed25519" }, signature: { name: "Ed25519" } },
} as const satisfies Record<KeyAlgorithm, unknown>;

export interface CertificateRequestInit {
  /** Common name to ask for; none when absent. It is a wish: the server names the certificate. */
  readonly commonName?: string | undefined;
}

/**
 * Make a PKCS#10 request (RFC 2986) in DER, signed by the key pair's own key. It asks for a common name at most: usages and names come from the server.
 */
export async function createCertificateRequest(
  keyPair: KeyPair,
  init: CertificateRequestInit = {},
): Promise<Uint8Array> {
  // Loading takes 200 ms, which commands that need no request must not pay.
  await import("reflect-metadata");
  const { Pkcs10CertificateRequestGenerator } = await import("@peculiar/x509");
  const { key, signature } = WEB_ALGORITHMS[keyPair.algorithm];
  const publicKey = await webcrypto.subtle.importKey("spki", keyPair.spki, key, true, ["verify"]);
  const privateKey = await importPrivateKey(keyPair, key);
  const request = await Pkcs10CertificateRequestGenerator.create(
    {
      name: init.commonName === undefined ? [] : [{ CN: [init.commonName] }],
      keys: { publicKey, privateKey },
      signingAlgorithm: signature,
    },
    webcrypto,
  );
  return new Uint8Array(request.rawData);
}

/**
 * Check that a request made elsewhere is for this key pair. Its signature is left to the server to check.
 * @throws {RksError} CSR_INVALID.
 */
export function assertRequestFor(csr: Uint8Array, keyPair: KeyPair): void {
  const { spki } = parseCertificateRequest(csr);
  if (Buffer.compare(spki, keyPair.spki) !== 0) {
    throw new RksError("CSR_INVALID", "the certificate request is for another key than the key pair's", {
      suggestion: "Pass the key pair that signed the request.",
    });
  }
}

async function importPrivateKey(
  keyPair: KeyPair,
  algorithm: { readonly name: string; readonly namedCurve?: string },
): Promise<webcrypto.CryptoKey> {
  const pkcs8 = keyPair.exportPrivateKey();
  try {
    return await webcrypto.subtle.importKey("pkcs8", pkcs8, algorithm, false, ["sign"]);
  } finally {
    pkcs8.fill(0);
  }
}
