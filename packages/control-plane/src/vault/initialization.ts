import { RksError, Secret } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";

import { Barrier } from "./seal/barrier.js";
import { randomKey } from "./seal/keyring.js";
import {
  createSeal,
  SEAL_CONFIG_KEY,
  readSeal,
  type SealConfig,
  shamirConfig,
  type StoredSeal,
  toSecretShare,
} from "./seal/seal.js";
import { KEY_BYTES } from "./seal/sealed-record.js";
import { splitKey } from "./seal/shamir.js";
import { ROOT_POLICY, UNLIMITED_USES } from "./token/token-entry.js";
import { type NewToken, TokenStore } from "./token/token-store.js";

/** How a new vault is sealed: a key split into shares, or a key that the caller keeps (32 bytes, see key-file.ts). */
export type InitOptions =
  { readonly shares: number; readonly threshold: number } | { readonly unsealKey: Uint8Array };

/** The only time that these are seen. */
export interface InitResult {
  /** Base64; empty for a vault with a key file. */
  readonly shares: readonly Secret<string>[];
  readonly rootToken: Secret<string>;
}

/** The root token of the initialisation: everything, for ever, until it is revoked. */
export const ROOT_TOKEN: NewToken = {
  type: "service",
  policies: [ROOT_POLICY],
  displayName: "root",
  meta: {},
  path: "auth/token/root",
  ttlSeconds: 0,
  explicitMaxTtlSeconds: 0,
  periodSeconds: 0,
  renewable: false,
  usesLeft: UNLIMITED_USES,
  boundCidrs: [],
  entityId: "",
};

/** A vault that is initialised now, by this or by somebody who was faster. */
export interface Initialized {
  readonly seal: StoredSeal;
  /** Undefined: somebody else was faster. */
  readonly result: InitResult | undefined;
}

/**
 * Write a new vault into an empty store, in one transaction.
 * @throws {RksError} INPUT_INVALID when the key cannot be split this way, STORAGE_CORRUPT when the store is not empty.
 */
export async function initializeVault(
  storage: Storage,
  options: InitOptions,
  clock: { now(): number },
): Promise<Initialized> {
  const config = sealConfig(options);
  const unsealKey = "unsealKey" in options ? Uint8Array.from(options.unsealKey) : randomKey();
  const { keys, writes } = createSeal(config, unsealKey, clock.now());
  const barrier = Barrier.create(storage, keys.keyring);
  try {
    const root = TokenStore.initial(barrier, ROOT_TOKEN, clock);
    const all = [...writes, ...barrier.encryptedWrites(root.writes)];
    const shares =
      config.type === "keyfile" ? [] : await splitKey(unsealKey, config.shares, config.threshold);
    // Nothing of a vault may be there: a store that lost only its seal must not get a second one.
    const { succeeded } = await storage.transaction(
      all.map(({ key }) => ({ key, modRevision: 0 })),
      all,
    );
    const seal = await readSeal(storage);
    if (!succeeded && seal === undefined) throw remains();
    if (seal === undefined) throw alreadyInitialized();
    if (!succeeded) return { seal, result: undefined };
    return { seal, result: { shares: shares.map(toSecretShare), rootToken: new Secret(root.token) } };
  } finally {
    barrier.seal();
    keys.rootKey.fill(0);
    unsealKey.fill(0);
  }
}

function sealConfig(options: InitOptions): SealConfig {
  if ("unsealKey" in options) {
    if (options.unsealKey.byteLength === KEY_BYTES) return { type: "keyfile", shares: 1, threshold: 1 };
    throw new TypeError(`an unseal key is ${KEY_BYTES} bytes long, not ${options.unsealKey.byteLength}`);
  }
  return shamirConfig(options.shares, options.threshold);
}

/** The refusal to initialise what is initialised. */
export function alreadyInitialized(): RksError {
  return new RksError("ALREADY_EXISTS", "the vault is already initialised", {
    suggestion: "Unseal it with rks unseal.",
  });
}

function remains(): RksError {
  return new RksError(
    "STORAGE_CORRUPT",
    `the storage holds the remains of a vault without "${SEAL_CONFIG_KEY}"`,
    {
      suggestion: "Restore the data folder from a backup, or name an empty one.",
    },
  );
}
