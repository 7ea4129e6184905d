import { createHash, verify } from "node:crypto";
import { equalBytes, utf8 } from "@rk8s/protocol";
import { parseSshPublicKey, type SshPublicKey } from "./ssh-public-key.js";
import { SshReader } from "./ssh-reader.js";

const MAGIC = utf8("SSHSIG");
const VERSION = 1;
const HASHES: ReadonlySet<string> = new Set(["sha256", "sha512"]);
const RSA_HASHES: ReadonlyMap<string, "sha256" | "sha512"> = new Map([
  ["rsa-sha2-256", "sha256"],
  ["rsa-sha2-512", "sha512"],
]);

/**
 * Whether an SSH signature over the message is by this key, for this namespace. The format is OpenSSH's
 * PROTOCOL.sshsig in binary form: version 1, no reserved bytes, SHA-256 or SHA-512, no SHA-1. The key in the
 * signature must be the expected one, byte for byte. False, never an error, for whatever is no such signature.
 */
export function isSshSignature(
  signature: Uint8Array,
  message: Uint8Array,
  expected: { readonly publicKey: Uint8Array; readonly namespace: string },
): boolean {
  try {
    const { hash, blob } = readSignature(signature, expected);
    const signed = Buffer.concat([
      MAGIC,
      sshString(utf8(expected.namespace)),
      sshString(new Uint8Array()),
      sshString(utf8(hash)),
      sshString(createHash(hash).update(message).digest()),
    ]);
    return verifyBlob(parseSshPublicKey(expected.publicKey), signed, blob);
  } catch {
    return false;
  }
}

function readSignature(
  signature: Uint8Array,
  expected: { readonly publicKey: Uint8Array; readonly namespace: string },
): { readonly hash: string; readonly blob: Uint8Array } {
  const reader = new SshReader(signature, "SSH signature");
  if (!equalBytes(reader.bytes(MAGIC.length), MAGIC)) throw reader.refused("it does not begin with SSHSIG");
  if (reader.uint32() !== VERSION) throw reader.refused("it is of another version");
  if (!equalBytes(reader.string(), expected.publicKey)) throw reader.refused("it is by another key");
  if (reader.text() !== expected.namespace) throw reader.refused("it was made for something else");
  if (reader.string().length > 0) throw reader.refused("its reserved field is not empty");
  const hash = reader.text();
  if (!HASHES.has(hash)) throw reader.refused("its hash is not permitted");
  const blob = reader.string();
  reader.finish();
  return { hash, blob };
}

/** The signature itself, RFC 4253 §6.6: a format's name and bytes that depend on it. */
function verifyBlob({ type, key }: SshPublicKey, signed: Uint8Array, blob: Uint8Array): boolean {
  const reader = new SshReader(blob, "SSH signature");
  const format = reader.text();
  const bytes = reader.string();
  reader.finish();
  if (type === "ssh-rsa") {
    const hash = RSA_HASHES.get(format);
    return hash !== undefined && verify(hash, signed, key, bytes);
  }
  if (format !== type) return false;
  if (type === "ssh-ed25519") return verify(null, signed, key, bytes);
  return verify("sha256", signed, { key, dsaEncoding: "ieee-p1363" }, ecdsaBytes(bytes));
}

/** RFC 5656 §3.1.2: two numbers; here side by side, 32 bytes each. */
function ecdsaBytes(bytes: Uint8Array): Buffer {
  const reader = new SshReader(bytes, "SSH signature");
  const numbers = [reader.positive(), reader.positive()];
  reader.finish();
  const joined = Buffer.alloc(64);
  for (const [i, number] of numbers.entries()) {
    if (number.length > 32) throw reader.refused("a number in it is too large");
    number.copy(joined, 32 * (i + 1) - number.length);
  }
  return joined;
}

function sshString(bytes: Uint8Array): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
