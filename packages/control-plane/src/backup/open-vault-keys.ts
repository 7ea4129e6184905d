import { RksError, type Secret } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { KeySource } from "../store/record-mac.js";
import { openSeal, readSeal, UnsealAttempt, type VaultKeys } from "../vault/seal/seal.js";

/**
 * The keys of the vault that is in a store, by its unseal keys (base64), without opening it. The caller wipes them.
 * @throws {RksError} UNSEAL_KEY_INVALID; STORAGE_CORRUPT when there is no vault.
 */
export async function openVaultKeys(storage: Storage, shares: readonly Secret<string>[]): Promise<VaultKeys> {
  const seal = await readSeal(storage);
  if (seal === undefined) throw new RksError("STORAGE_CORRUPT", "there is no vault in it");
  const attempt = new UnsealAttempt(seal.config);
  for (const share of shares) {
    const unsealKey = await attempt.add(share.reveal());
    if (unsealKey === undefined) continue;
    try {
      return await openSeal(storage, seal, unsealKey);
    } finally {
      unsealKey.fill(0);
    }
  }
  attempt.reset();
  throw new RksError(
    "UNSEAL_KEY_INVALID",
    `${shares.length} unseal keys are given, the vault needs ${seal.config.threshold}`,
    { suggestion: "Give those that opened the vault at that time, with --key-file FILE." },
  );
}

/** What authenticates a vault's records. */
export function keySourceOf({ keyring }: VaultKeys): KeySource {
  return {
    deriveKey: (purpose, term = keyring.activeTerm) => {
      const key = keyring.derive(purpose, term);
      return key === undefined ? undefined : { term, key };
    },
  };
}
