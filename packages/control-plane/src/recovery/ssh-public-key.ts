import { createPublicKey, type JsonWebKey, type KeyObject } from "node:crypto";
import { SshReader } from "./ssh-reader.js";

/** Kinds of host key that are accepted, by the name in their blob. */
type SshKeyType = "ssh-ed25519" | "ecdsa-sha2-nistp256" | "ssh-rsa";

export interface SshPublicKey {
  readonly type: SshKeyType;
  readonly key: KeyObject;
}

const MIN_RSA_BYTES = 256;
const MAX_RSA_BYTES = 1024;
const MAX_EXPONENT_BYTES = 4;
const P256_POINT_BYTES = 65;
const UNCOMPRESSED = 4;

/**
 * Read the blob of an SSH public key (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4).
 * @throws {RksError} INPUT_INVALID for what is none, KEY_TOO_WEAK never: a short RSA key is INPUT_INVALID as well.
 */
export function parseSshPublicKey(blob: Uint8Array): SshPublicKey {
  const reader = new SshReader(blob, "SSH public key");
  const type = reader.text();
  const jwk = readJwk(type, reader);
  reader.finish();
  try {
    return { type: type as SshKeyType, key: createPublicKey({ key: jwk, format: "jwk" }) };
  } catch {
    throw reader.refused("its numbers are no key");
  }
}

function readJwk(type: string, reader: SshReader): JsonWebKey {
  switch (type) {
    case "ssh-ed25519": {
      const key = reader.string();
      if (key.length !== 32) throw reader.refused("an Ed25519 key has 32 bytes");
      return { kty: "OKP", crv: "Ed25519", x: key.toString("base64url") };
    }
    case "ecdsa-sha2-nistp256": {
      if (reader.text() !== "nistp256") throw reader.refused("its curve is not the one of its type");
      const point = reader.string();
      if (point.length !== P256_POINT_BYTES || point[0] !== UNCOMPRESSED) {
        throw reader.refused("its point is not an uncompressed one of P-256");
      }
      const [x, y] = [point.subarray(1, 33), point.subarray(33)];
      return { kty: "EC", crv: "P-256", x: x.toString("base64url"), y: y.toString("base64url") };
    }
    case "ssh-rsa": {
      const [e, n] = [reader.positive(), reader.positive()];
      if (e.length > MAX_EXPONENT_BYTES || e.at(-1)! % 2 === 0 || (e.length === 1 && e[0]! < 3)) {
        throw reader.refused("its exponent is not an odd number from 3");
      }
      if (n.length < MIN_RSA_BYTES || n.length > MAX_RSA_BYTES) {
        throw reader.refused("an RSA key must have 2048 to 8192 bits");
      }
      return { kty: "RSA", e: e.toString("base64url"), n: n.toString("base64url") };
    }
    default:
      throw reader.refused(`keys of type "${type.slice(0, 40)}" are not taken`);
  }
}
