import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";

import { RksError, Secret } from "@rk8s/protocol";
import type { Comparison, Storage, Write } from "@rk8s/storage";
import { z } from "zod";

import { Keyring, randomKey } from "./keyring.js";
import { KEY_BYTES, openRecord, sealRecord } from "./sealed-record.js";
import { combineShares, isPossibleSplit, isSameShare, SHARE_BYTES } from "./shamir.js";

/** How the unseal key is kept: split among people, or whole in a key file for unattended starts. */
export type SealConfig =
  | { readonly type: "shamir"; readonly shares: number; readonly threshold: number }
  | { readonly type: "keyfile"; readonly shares: 1; readonly threshold: 1 };

/** Which seal it is; written with each rekey. Exists in every initialised store and in no other. */
export const SEAL_CONFIG_KEY = "core/seal-config";
const ROOT_KEY_KEY = "core/root-key";
const KEYRING_KEY = "core/keyring";

const storedConfig = z.object({
  version: z.literal(1),
  type: z.enum(["shamir", "keyfile"]),
  shares: z.int().min(1).max(255),
  threshold: z.int().min(1).max(255),
  /** Tells a wrong key from damaged storage; the key has 256 random bits, so the check gives nothing away. */
  keyCheck: z.base64(),
});

/** The keys of a vault in clear: the root key encrypts the keyring, the unseal key encrypts the root key. */
export interface VaultKeys {
  readonly rootKey: Uint8Array;
  readonly keyring: Keyring;
}

/** What the seal keeps in the store, in clear but for the keys. */
export interface StoredSeal {
  readonly config: SealConfig;
  readonly keyCheck: Uint8Array;
}

/**
 * A seal whose key is split.
 * @throws {RksError} INPUT_INVALID when a key cannot be split this way.
 */
export function shamirConfig(shares: number, threshold: number): SealConfig {
  const problem = splitProblem(shares, threshold);
  if (problem === undefined) return { type: "shamir", shares, threshold };
  throw new RksError("INPUT_INVALID", `invalid seal configuration: ${problem}`, {
    suggestion: "Use 1 share of 1, or at least 2 of at most 255.",
  });
}

/** In words that clients show to people. */
function splitProblem(shares: number, threshold: number): string | undefined {
  if (isPossibleSplit(shares, threshold)) return undefined;
  if (shares < 1) return "shares must be at least one";
  if (threshold < 1) return "threshold must be at least one";
  if (shares > 255) return "shares must be at most 255";
  if (threshold > shares) return `threshold ${threshold} is larger than the number of shares, ${shares}`;
  return "threshold must be greater than one for multiple shares";
}

/** A share as it is handed out, base64; the bytes are wiped. */
export function toSecretShare(share: Uint8Array): Secret<string> {
  const text = Buffer.from(share.buffer, share.byteOffset, share.byteLength).toString("base64");
  share.fill(0);
  return new Secret(text);
}

/** Make new keys and the entries that hold them, encrypted under the unseal key. */
export function createSeal(
  config: SealConfig,
  unsealKey: Uint8Array,
  nowMs: number,
): { readonly keys: VaultKeys; readonly writes: readonly Write[] } {
  const keys: VaultKeys = { rootKey: randomKey(), keyring: Keyring.create(nowMs) };
  return { keys, writes: sealWrites(storedSeal(config, unsealKey), unsealKey, keys) };
}

const UNTERMED = { term: 0, sequence: 0 };

/** How the seal is kept for this unseal key. */
export function storedSeal(config: SealConfig, unsealKey: Uint8Array): StoredSeal {
  return { config, keyCheck: keyCheck(unsealKey) };
}

/** All entries of the seal: its form, and the keys encrypted under the unseal key. */
export function sealWrites(stored: StoredSeal, unsealKey: Uint8Array, keys: VaultKeys): readonly Write[] {
  const check = Buffer.from(stored.keyCheck).toString("base64");
  const form = Buffer.from(JSON.stringify({ version: 1, ...stored.config, keyCheck: check }));
  return [
    { type: "put", key: SEAL_CONFIG_KEY, value: form },
    { type: "put", key: ROOT_KEY_KEY, value: sealRecord(unsealKey, ROOT_KEY_KEY, UNTERMED, keys.rootKey) },
    keyringWrite(keys),
  ];
}

/** The entry that holds the keyring, encrypted under the root key. */
export function keyringWrite({ rootKey, keyring }: VaultKeys): Write {
  const clear = keyring.serialize();
  const value = sealRecord(rootKey, KEYRING_KEY, UNTERMED, clear);
  clear.fill(0);
  return { type: "put", key: KEYRING_KEY, value };
}

/**
 * Read how the vault is sealed; undefined when it was never initialised.
 * @throws {RksError} STORAGE_CORRUPT
 */
export async function readSeal(storage: Storage): Promise<StoredSeal | undefined> {
  const entry = await storage.get(SEAL_CONFIG_KEY);
  if (entry === undefined) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(entry.value).toString());
  } catch (cause) {
    throw damaged(SEAL_CONFIG_KEY, cause);
  }
  const parsed = storedConfig.safeParse(json);
  if (!parsed.success) throw damaged(SEAL_CONFIG_KEY, parsed.error);
  const { type, shares, threshold, keyCheck: check } = parsed.data;
  return {
    config: type === "shamir" ? { type, shares, threshold } : { type, shares: 1, threshold: 1 },
    keyCheck: Buffer.from(check, "base64"),
  };
}

/**
 * Decrypt root key and keyring with the unseal key.
 * @throws {RksError} UNSEAL_KEY_INVALID when it is not this vault's; STORAGE_CORRUPT when it is, but the keys are damaged.
 */
export async function openSeal(
  storage: Storage,
  seal: StoredSeal,
  unsealKey: Uint8Array,
): Promise<VaultKeys> {
  assertUnsealKey(seal, unsealKey);
  const rootKey = await openStored(storage, ROOT_KEY_KEY, unsealKey);
  try {
    return { rootKey, keyring: (await readKeyring(storage, rootKey)).keyring };
  } catch (reason) {
    rootKey.fill(0);
    throw reason;
  }
}

/** The keyring as it is kept now, and the revision of its entry. @throws {RksError} STORAGE_CORRUPT, also for another root key. */
export async function readKeyring(
  storage: Storage,
  rootKey: Uint8Array,
): Promise<{ readonly keyring: Keyring; readonly unchanged: Comparison }> {
  const entry = await storage.get(KEYRING_KEY);
  const clear = entry === undefined ? undefined : openRecord(rootKey, KEYRING_KEY, entry.value);
  if (entry === undefined || clear === undefined) throw damaged(KEYRING_KEY);
  try {
    return { keyring: Keyring.parse(clear), unchanged: { key: KEYRING_KEY, modRevision: entry.modRevision } };
  } finally {
    clear.fill(0);
  }
}

/** Whether two seals are opened by the same key. */
export function isSameSeal(a: StoredSeal, b: StoredSeal): boolean {
  return a.keyCheck.byteLength === b.keyCheck.byteLength && timingSafeEqual(a.keyCheck, b.keyCheck);
}

/** @throws {RksError} UNSEAL_KEY_INVALID when this is not the key of the seal. */
export function assertUnsealKey(seal: StoredSeal, unsealKey: Uint8Array): void {
  if (isSameSeal(seal, storedSeal(seal.config, unsealKey))) return;
  throw unsealKeyInvalid("the shares do not give this vault's unseal key");
}

/** Whether these shares, base64, are enough and right to open the seal. */
export async function opensSeal(seal: StoredSeal, shares: readonly Secret<string>[]): Promise<boolean> {
  const attempt = new UnsealAttempt(seal.config);
  try {
    for (const share of shares.slice(0, seal.config.shares)) {
      const unsealKey = await attempt.add(share.reveal());
      if (unsealKey === undefined) continue;
      const opens = isSameSeal(seal, storedSeal(seal.config, unsealKey));
      unsealKey.fill(0);
      return opens;
    }
    return false;
  } catch (reason) {
    if (reason instanceof RksError && reason.code === "UNSEAL_KEY_INVALID") return false;
    throw reason;
  } finally {
    attempt.reset();
  }
}

/**
 * The shares given so far towards one unsealing. Shares of a wrong length are refused at once, the same share twice
 * counts once, and whether they are right shows when the threshold is reached.
 */
export class UnsealAttempt {
  readonly #config: SealConfig;
  #shares: Uint8Array[] = [];
  #nonce = "";

  constructor(config: SealConfig) {
    this.#config = config;
  }

  /** How many different shares are there. */
  get progress(): number {
    return this.#shares.length;
  }

  /** Names this attempt; empty while no share was given. */
  get nonce(): string {
    return this.#nonce;
  }

  /**
   * Take one share; gives the unseal key (to be proven) once there are enough, and then starts anew.
   * @throws {RksError} UNSEAL_KEY_INVALID
   */
  async add(given: string | Uint8Array): Promise<Uint8Array | undefined> {
    const { threshold } = this.#config;
    const share = parseShare(given, threshold === 1 ? KEY_BYTES : SHARE_BYTES);
    if (this.#shares.length === 0) this.#nonce = randomUUID();
    if (!this.#shares.some((known) => isSameShare(known, share))) this.#shares.push(share);
    if (this.#shares.length < threshold) return undefined;
    const key = await combineShares(this.#shares);
    this.reset();
    if (key?.byteLength !== KEY_BYTES) throw unsealKeyInvalid("the shares do not belong together");
    return key;
  }

  /** Forget and wipe the shares. */
  reset(): void {
    for (const share of this.#shares) share.fill(0);
    this.#shares = [];
    this.#nonce = "";
  }
}

/** Hex when it is hex of the right length, else base64; as Vault tries them. */
function parseShare(given: string | Uint8Array, bytes: number): Uint8Array {
  if (typeof given !== "string") {
    if (given.byteLength === bytes) return Uint8Array.from(given);
    throw unsealKeyInvalid(`an unseal key of this vault is ${bytes} bytes long`);
  }
  const trimmed = given.trim();
  if (/^[0-9a-f]+$/i.test(trimmed) && trimmed.length === 2 * bytes) {
    return Uint8Array.from(Buffer.from(trimmed, "hex"));
  }
  const decoded = Buffer.from(trimmed, "base64");
  const isBase64 = /^[A-Za-z0-9+/]+={0,2}$/.test(trimmed) && decoded.byteLength === bytes;
  if (!isBase64) throw unsealKeyInvalid(`an unseal key of this vault is ${bytes} bytes in hex or base64`);
  const share = Uint8Array.from(decoded);
  decoded.fill(0);
  return share;
}

async function openStored(storage: Storage, key: string, under: Uint8Array): Promise<Uint8Array> {
  const entry = await storage.get(key);
  const clear = entry === undefined ? undefined : openRecord(under, key, entry.value);
  if (clear === undefined) throw damaged(key);
  return clear;
}

function keyCheck(unsealKey: Uint8Array): Buffer {
  return createHmac("sha256", unsealKey).update("rk8s/unseal-key-check/1").digest();
}

function unsealKeyInvalid(message: string): RksError {
  return new RksError("UNSEAL_KEY_INVALID", message, {
    suggestion: "Start again with the shares that initialising this vault gave.",
  });
}

function damaged(key: string, cause?: unknown): RksError {
  return new RksError("STORAGE_CORRUPT", `the entry at "${key}" is missing or damaged`, {
    suggestion: "Check the disk and restore the data folder from the newest backup.",
    cause,
  });
}
