import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import { decodePem, parsePublicKey } from "@rk8s/x509";
import { assertKeyStrength } from "../signing.js";

/** What a bundle brings. */
export interface PemBundle {
  /** DER, in the order of the bundle. */
  readonly certificates: readonly Uint8Array[];
  readonly privateKeys: readonly KeyObject[];
}

/** A chain with its cross-signatures; all of it is one transaction. */
const MAX_BLOCKS = 40;
const MAX_BUNDLE_BYTES = 262_144;
const KEY_FORMATS: ReadonlyMap<string, "pkcs1" | "pkcs8" | "sec1"> = new Map([
  ["PRIVATE KEY", "pkcs8"],
  ["RSA PRIVATE KEY", "pkcs1"],
  ["EC PRIVATE KEY", "sec1"],
]);
const CERTIFICATES = ["CERTIFICATE", "X509 CERTIFICATE"];
/** Parts of bundles that say nothing about issuers: CRLs are made here, curves are in the keys. */
const IGNORED = ["X509 CRL", "CRL", "EC PARAMETERS", "EC PARAMS"];
const CURVES: readonly (string | undefined)[] = ["prime256v1", "secp384r1", "secp521r1"];

/**
 * Take a bundle of certificates and unencrypted private keys apart. Certificates are not looked into; keys are checked
 * to be of a kind that can sign here and to be whole.
 * @throws {RksError} INPUT_INVALID for what is too big, encrypted, neither, or no key of ours; KEY_TOO_WEAK;
 * CERTIFICATE_INVALID for text that is no PEM.
 */
export function readPemBundle(pem: string): PemBundle {
  if (pem.length > MAX_BUNDLE_BYTES) {
    throw refused(`it has ${pem.length} characters, more than ${MAX_BUNDLE_BYTES}`, "Import it in parts.");
  }
  if (/^Proc-Type:.*ENCRYPTED/m.test(pem)) throw encrypted();
  const blocks = decodePem(pem);
  if (blocks.length === 0) {
    throw refused("it has no PEM blocks", "Send the contents of the file, not its path.");
  }
  if (blocks.length > MAX_BLOCKS) {
    throw refused(`it has ${blocks.length} blocks, more than ${MAX_BLOCKS}`, "Import it in parts.");
  }
  const certificates: Uint8Array[] = [];
  const privateKeys: KeyObject[] = [];
  for (const { label, der } of blocks) {
    const format = KEY_FORMATS.get(label);
    if (CERTIFICATES.includes(label)) certificates.push(der);
    else if (label === "ENCRYPTED PRIVATE KEY") throw encrypted();
    else if (format !== undefined) privateKeys.push(readPrivateKey(der, format));
    else if (!IGNORED.includes(label)) {
      throw refused(
        `it has a block ${JSON.stringify(label.slice(0, 40))}`,
        "Leave everything but certificates and private keys out.",
      );
    }
  }
  return { certificates, privateKeys };
}

function readPrivateKey(der: Uint8Array, type: "pkcs1" | "pkcs8" | "sec1"): KeyObject {
  const bytes = Buffer.from(der.buffer, der.byteOffset, der.length);
  try {
    let key: KeyObject;
    try {
      key = createPrivateKey({ key: bytes, format: "der", type });
    } catch {
      // The cause may quote the key.
      throw refused("a private key in it cannot be read", "Send keys as PKCS#8, PKCS#1 or SEC1 in PEM.");
    }
    assertKind(key);
    assertWhole(key);
    return key;
  } finally {
    bytes.fill(0);
  }
}

function assertKind(key: KeyObject): void {
  const type = key.asymmetricKeyType ?? "";
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (!["rsa", "ec", "ed25519"].includes(type) || (type === "ec" && !CURVES.includes(curve))) {
    throw refused(
      `a private key in it is of type "${type}"${curve === undefined ? "" : ` on curve "${curve}"`}`,
      "Use RSA of 2048 to 4096 bits, EC P-256, P-384 or P-521, or Ed25519.",
    );
  }
  const spki = createPublicKey(key).export({ type: "spki", format: "der" });
  assertKeyStrength(parsePublicKey(spki, { code: "CERTIFICATE_INVALID" }));
}

/** A key file may have a public part that is another key's: what it signs would be worth nothing. */
function assertWhole(key: KeyObject): void {
  const hash = key.asymmetricKeyType === "ed25519" ? null : "sha256";
  const message = Buffer.from("rk8s key check");
  let isWhole = false;
  try {
    isWhole = verify(hash, message, createPublicKey(key), sign(hash, message, key));
  } catch {
    // A key that cannot sign is not whole either.
  }
  if (isWhole) return;
  throw refused("a private key in it does not belong to its own public part", "Make a new key.");
}

function encrypted(): RksError {
  return refused(
    "its private key is encrypted",
    "Decrypt it first, for example with `openssl pkey -in key.pem -out plain.pem`.",
  );
}

function refused(problem: string, suggestion: string): RksError {
  return new RksError("INPUT_INVALID", `the PEM bundle is refused: ${problem}`, { suggestion });
}
