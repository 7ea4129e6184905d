import { decodeBase64Url, encodeBase64Url } from "./base64url.js";
import { concatBytes, fromHex, hex } from "./bytes.js";
import { crc32 } from "./crc32.js";
import { RksError } from "./errors.js";
import { Secret } from "./secret.js";

/** Begins every join token; the digit is the format's version. */
const PREFIX = "rkj1.";
const ID_BYTES = 8;
const SEED_BYTES = 32;
const PIN_BYTES = 32;
const CHECKSUM_BYTES = 4;
const PAYLOAD_BYTES = ID_BYTES + SEED_BYTES + PIN_BYTES;
const TOKEN_CHARACTERS = PREFIX.length + Math.ceil(((PAYLOAD_BYTES + CHECKSUM_BYTES) * 4) / 3);

/**
 * A join token: the private half of a key pair, bound to one cluster. The server keeps only the public half; the
 * secret never crosses the wire.
 */
export interface JoinToken {
  /** 16 hexadecimal digits; not a secret. */
  readonly id: string;
  /** Ed25519 seed (RFC 8032 §5.1.5), 32 bytes. */
  readonly seed: Secret<Uint8Array>;
  /** SHA-256 of the root certificate's SubjectPublicKeyInfo in DER, 32 bytes. */
  readonly rootSpkiSha256: Uint8Array;
}

/** The token as one string of 107 characters: `rkj1.` and base64url of id, seed, pin and CRC-32. */
export function formatJoinToken(token: JoinToken): string {
  const id = fromHex(token.id);
  const seed = token.seed.reveal();
  if (id?.length !== ID_BYTES || seed.length !== SEED_BYTES || token.rootSpkiSha256.length !== PIN_BYTES) {
    throw new TypeError("a join token has an id of 8 bytes, a seed of 32 and a pin of 32");
  }
  const payload = concatBytes(id, seed, token.rootSpkiSha256);
  const checksum = new Uint8Array(CHECKSUM_BYTES);
  new DataView(checksum.buffer).setUint32(0, crc32(payload));
  const all = concatBytes(payload, checksum);
  const text = PREFIX + encodeBase64Url(all);
  payload.fill(0);
  all.fill(0);
  return text;
}

/**
 * Read a join token; white space around it is ignored. A mistyped character is told apart from an unknown token.
 * @throws {RksError} JOIN_TOKEN_MALFORMED; the text itself is not repeated.
 */
export function parseJoinToken(text: string): JoinToken {
  const trimmed = text.trim();
  if (!trimmed.startsWith(PREFIX)) throw malformed(`does not begin with "${PREFIX}"`);
  if (trimmed.length !== TOKEN_CHARACTERS) {
    throw malformed(`has ${trimmed.length} characters instead of ${TOKEN_CHARACTERS}`);
  }
  const bytes = decodeBase64Url(trimmed.slice(PREFIX.length));
  if (bytes === undefined) throw malformed("has characters that no join token has");
  try {
    return readToken(bytes);
  } finally {
    bytes.fill(0);
  }
}

function readToken(bytes: Uint8Array): JoinToken {
  const payload = bytes.subarray(0, PAYLOAD_BYTES);
  const checksum = new DataView(bytes.buffer, bytes.byteOffset).getUint32(PAYLOAD_BYTES);
  if (checksum !== crc32(payload)) throw malformed("has a mistyped character: its checksum does not fit");
  return {
    id: hex(payload.subarray(0, ID_BYTES)),
    seed: new Secret(payload.slice(ID_BYTES, ID_BYTES + SEED_BYTES)),
    rootSpkiSha256: payload.slice(ID_BYTES + SEED_BYTES),
  };
}

function malformed(problem: string): RksError {
  return new RksError("JOIN_TOKEN_MALFORMED", `the join token ${problem}`, {
    suggestion: "Copy the whole token again, as `rks gen join-token` printed it.",
  });
}
