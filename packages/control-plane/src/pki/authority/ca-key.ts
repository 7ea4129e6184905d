import type { KeyObject } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import { keySpec } from "../key-spec.js";
import type { PkiMount } from "../pki-mount.js";
import type { CaKeyFields } from "./ca-fields.js";

/** Where the key of a new CA comes from, as the last part of a path says. */
export type KeySource = "internal" | "exported" | "existing";

/** A CA's key with what tells whether it is one of the mount's already. */
export interface CaKey {
  readonly privateKey: KeyObject;
  readonly source: KeySource;
}

const SIGNATURE_BITS = [0, 256, 384, 512];

/** @throws {RksError} INPUT_INVALID when it is none, UNSUPPORTED for keys that another system keeps. */
export function keySource(type: string): KeySource {
  if (type === "internal" || type === "exported" || type === "existing") return type;
  if (type === "kms") {
    throw new RksError("INPUT_INVALID", "keys in another key management system are not supported", {
      suggestion: 'Use "internal", "exported" or "existing" instead of "kms".',
    });
  }
  throw new RksError("INPUT_INVALID", `${JSON.stringify(type.slice(0, 80))} is not a source of keys`, {
    suggestion: 'Use "internal", "exported" or "existing".',
  });
}

/**
 * Make a key, or take the existing one that `key_ref` names. Checked before: what costs nothing.
 * @throws {RksError} INPUT_INVALID, BUSY.
 */
export async function caKey(pki: PkiMount, source: KeySource, fields: CaKeyFields): Promise<CaKey> {
  if (fields.managed_key_name + fields.managed_key_id !== "") {
    throw new RksError("INPUT_INVALID", "managed keys are not supported", {
      suggestion: "Leave managed_key_name and managed_key_id out.",
    });
  }
  if (!SIGNATURE_BITS.includes(fields.signature_bits)) {
    throw new RksError("INPUT_INVALID", `signature_bits ${fields.signature_bits} is no size of SHA-2`, {
      suggestion: "Use 0, 256, 384 or 512.",
    });
  }
  if (source === "existing") {
    return { privateKey: await pki.keys.privateKey(pki.keys.require(fields.key_ref).id), source };
  }
  const { privateKey } = await pki.keyMaker.create(keySpec(fields.key_type, fields.key_bits));
  return { privateKey, source };
}
