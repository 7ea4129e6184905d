import { RksError } from "@rk8s/protocol";
import type { CertificateRequest, PublicKeyInfo } from "@rk8s/x509";
import { keyBits, leafKeySpec } from "../key-spec.js";
import type { PkiRole } from "../role/role-fields.js";
import { proveKeyAside, verifyAside } from "../signing.js";

/** The key of a request, as roles speak of keys. */
export interface CsrKey {
  readonly type: "rsa" | "ec" | "ed25519";
  readonly bits: number;
}

const P224 = "1.3.132.0.33";
/** By the names that x509 has for algorithms; the only other one that such keys sign with would be SHA-1. */
const ECDSA_HASHES: ReadonlyMap<string, string> = new Map([
  ["ecdsa-sha256", "sha256"],
  ["ecdsa-sha384", "sha384"],
  ["ecdsa-sha512", "sha512"],
]);

/**
 * Check that whoever made the request holds its key, and that the key is strong enough for any certificate: as
 * `proveKeyAside`, and P-224, which only roles that name it let through.
 * @throws {RksError} KEY_TOO_WEAK, CSR_INVALID.
 */
export async function proveCsrKey(csr: CertificateRequest): Promise<CsrKey> {
  const { publicKey } = csr;
  if (isP224(publicKey)) {
    await proveP224(csr);
    return { type: "ec", bits: 224 };
  }
  await proveKeyAside(csr);
  if (publicKey.algorithm === "other") throw RksError.from(new Error("an unknown key proved itself"));
  return { type: publicKey.algorithm, bits: publicKey.bits };
}

/** A CSR's key must be of the role's type and at least of its size. @throws {RksError} ROLE_REFUSED. */
export function assertKeyAllowed(
  role: Pick<PkiRole, "key_type" | "key_bits">,
  key: CsrKey,
  roleName: string,
): void {
  const { key_type: type } = role;
  if (type === "any") return;
  if (key.type !== type) {
    throw new RksError(
      "ROLE_REFUSED",
      `a key of type "${key.type}" is not allowed by role "${roleName}": key_type is "${type}"`,
      { suggestion: `Make a key of type ${type}, or set key_type=any on the role.` },
    );
  }
  const wanted = keyBits(leafKeySpec(type, role.key_bits));
  if (key.bits < wanted) {
    throw new RksError(
      "ROLE_REFUSED",
      `a key of ${key.bits} bits is not allowed by role "${roleName}": key_bits is ${wanted}`,
      { suggestion: `Make a key of ${wanted} bits.` },
    );
  }
}

function isP224(key: PublicKeyInfo): boolean {
  return key.algorithm === "other" && key.oid === P224;
}

async function proveP224(csr: CertificateRequest): Promise<void> {
  const { spki, signatureAlgorithm } = csr;
  const hash = ECDSA_HASHES.get(signatureAlgorithm.name ?? "");
  if (hash === undefined) {
    throw invalid(`its signature algorithm "${signatureAlgorithm.oid}" does not fit its key`);
  }
  const key = { format: "der", type: "spki", key: spki } as const;
  await verifyAside({ ...csr, hash, key, pss: undefined });
}

function invalid(problem: string, cause?: unknown): RksError {
  return new RksError("CSR_INVALID", `certificate request is refused: ${problem}`, {
    cause,
    suggestion: "Make a new request and sign it with the key it is for.",
  });
}
