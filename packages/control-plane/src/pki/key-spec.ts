import { RksError } from "@rk8s/protocol";
import type { KeySpec } from "./key-pair.js";

/** A kind of key that a leaf may have: P-224 is as strong as RSA-2048, but no authority should have it. */
export type LeafKeySpec = KeySpec | { readonly type: "ec"; readonly bits: 224 };

/** Sizes by type, the usual one first; Ed25519 has one size, which Vault writes as 0. */
const SIZES = { rsa: [2048, 3072, 4096], ec: [256, 384, 521] } as const;

/** A key type and size as Vault writes them; size 0 stands for the usual one. @throws {RksError} INPUT_INVALID. */
export function keySpec(type: string, bits: number): KeySpec {
  if (type === "ed25519") return { type };
  if (type !== "rsa" && type !== "ec") {
    throw new RksError("INPUT_INVALID", `key type ${JSON.stringify(type.slice(0, 40))} is not known`, {
      suggestion: "Use rsa, ec or ed25519.",
    });
  }
  const size = SIZES[type].find((known) => bits === 0 || known === bits);
  if (size !== undefined) return { type, bits: size } as KeySpec;
  throw new RksError("INPUT_INVALID", `key_bits ${bits} does not fit key type "${type}"`, {
    suggestion: `Use 0 or one of ${SIZES[type].join(", ")}.`,
  });
}

/** As `keySpec`, and P-224 too. @throws {RksError} INPUT_INVALID. */
export function leafKeySpec(type: string, bits: number): LeafKeySpec {
  return type === "ec" && bits === 224 ? { type, bits } : keySpec(type, bits);
}

/** The size of a key as Vault writes it: 0 for Ed25519. */
export function keyBits(spec: LeafKeySpec): number {
  return spec.type === "ed25519" ? 0 : spec.bits;
}
