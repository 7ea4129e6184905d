import type { Secret } from "@rk8s/protocol";

import { memoryStorage } from "../../storage/memory-storage.js";
import type { Storage } from "../../storage/storage.js";
import type { BackendFactory } from "../backend.js";
import { openVault } from "../vault.js";
import type { Vault, VaultInit } from "../vault.js";

/** A vault that was initialised 1 of 1 and unsealed, with a clock that the test moves. */
export interface TestVault extends AsyncDisposable {
  readonly vault: Vault;
  readonly root: Secret<string>;
  readonly share: Secret<string>;
  readonly storage: Storage;
  /** Move the vault's clock. */
  readonly advanceSeconds: (seconds: number) => void;
  /** A token with these policies, made by root. */
  readonly tokenWith: (data: Readonly<Record<string, unknown>>) => Promise<string>;
}

/** Make one over memory, or over `storage`. */
export async function anUnsealedVault(init: Partial<VaultInit> = {}): Promise<TestVault> {
  const storage = init.storage ?? memoryStorage();
  const clock = {
    nowMs: 1_800_000_000_000,
    now(): number {
      return this.nowMs;
    },
  };
  const vault = await openVault({ ...init, storage }, { clock });
  const { shares, rootToken } = await vault.init({ shares: 1, threshold: 1 });
  const [share] = shares;
  if (share === undefined) throw new TypeError("a vault of one share gave none");
  await vault.unseal(share);
  return {
    vault,
    root: rootToken,
    share,
    storage,
    advanceSeconds: (seconds) => {
      clock.nowMs += seconds * 1000;
    },
    tokenWith: async (data) => {
      const answer = await vault.write(rootToken, "auth/token/create", data);
      return answer?.auth?.client_token ?? "";
    },
    [Symbol.asyncDispose]: () => vault[Symbol.asyncDispose](),
  };
}

/**
 * An engine that answers with what it was asked and stores what is written to it; `open` needs no token, what is
 * below `stored/` tells creating from updating.
 */
export const echoBackend: BackendFactory = (mount, barrier) =>
  Promise.resolve({
    unauthenticatedPaths: ["open", "open/*"],
    exists: async (path) =>
      !path.startsWith("stored/") || (await barrier.get(mount.storagePrefix + path)) !== undefined,
    handle: async ({ operation, path, data, token }) => {
      if (operation === "create" || operation === "update") {
        const value = Buffer.from(JSON.stringify(data));
        await barrier.transaction([], [{ type: "put", key: mount.storagePrefix + path, value }]);
      }
      if (path === "nothing") return undefined;
      const ttls = { default: mount.defaultTtlSeconds, max: mount.maxTtlSeconds };
      return { data: { operation, path, data, ttls, caller: token?.accessor ?? null } };
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
