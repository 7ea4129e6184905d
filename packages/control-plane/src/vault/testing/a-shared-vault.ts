import type { Secret } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";

import type { JsonObject } from "../backend.js";
import { openVault, type Vault, type VaultInit } from "../vault.js";
import { CrashingStorage } from "./crashing-storage.js";

/** An unsealed vault whose key is split, over a store that can crash. */
export interface SharedVault {
  readonly vault: Vault;
  readonly storage: CrashingStorage;
  readonly root: Secret<string>;
  /** Base64. */
  readonly shares: readonly string[];
  /** Write as root; the answer's data. */
  readonly write: (path: string, data?: JsonObject) => Promise<JsonObject>;
  /** Read as root; the answer's data. */
  readonly read: (path: string) => Promise<JsonObject>;
  /** Give shares one after another to a path that takes them; the last answer's data. */
  readonly give: (path: string, shares: readonly string[], nonce: unknown) => Promise<JsonObject>;
}

/** Make one of `shares` shares, of which `threshold` are enough. */
export async function aSharedVault(
  shares: number,
  threshold: number,
  init: Partial<VaultInit> = {},
): Promise<SharedVault> {
  const storage = new CrashingStorage();
  const vault = await reopenVault({ ...init, storage });
  const made = await vault.init({ shares, threshold });
  const all = made.shares.map((share) => share.reveal());
  for (const share of all.slice(0, threshold)) await vault.unseal(share);
  const root = made.rootToken;
  const write = async (path: string, data: JsonObject = {}): Promise<JsonObject> =>
    (await vault.write(root, path, data))?.data ?? {};
  return {
    vault,
    storage,
    root,
    shares: all,
    write,
    read: async (path) => (await vault.read(root, path))?.data ?? {},
    give: async (path, given, nonce) => {
      let last: JsonObject = {};
      for (const key of given) last = await write(path, { key, nonce });
      return last;
    },
  };
}

/** Open a vault over a store, as after a restart; it is sealed. */
export function reopenVault(init: VaultInit): Promise<Vault> {
  return openVault(init, { clock: new FakeClock({ now: 1_800_000_000_000 }), random: () => 0.5 });
}

/** Whether these shares, and nothing else, open what is in the store, as after a restart. */
export async function opensAfterRestart(
  storage: VaultInit["storage"],
  shares: readonly string[],
): Promise<boolean> {
  await using vault = await reopenVault({ storage });
  try {
    for (const share of shares) await vault.unseal(share);
  } catch {
    return false;
  }
  return !vault.status().sealed;
}

/** The texts of a list in an answer. */
export function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((text): text is string => typeof text === "string") : [];
}
