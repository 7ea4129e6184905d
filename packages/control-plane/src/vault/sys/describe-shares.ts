import type { Secret } from "@rk8s/protocol";

/** Shares as Vault hands them out: in hex and in base64. */
export function describeShares(shares: readonly Secret<string>[]): {
  readonly keys: readonly string[];
  readonly keys_base64: readonly string[];
} {
  const base64 = shares.map((share) => share.reveal());
  return { keys: base64.map((share) => Buffer.from(share, "base64").toString("hex")), keys_base64: base64 };
}
