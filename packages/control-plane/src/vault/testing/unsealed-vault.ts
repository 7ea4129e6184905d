import type { Secret } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage, type Storage } from "@rk8s/storage";

import type { Answer, BackendFactory, PathRequest } from "../backend.js";
import { type Access, type BackendPath, type PathOperation, PathTable } from "../path-table.js";
import { openVault } from "../vault.js";
import type { Vault, VaultInit } from "../vault.js";

/** A vault that was initialised 1 of 1 and unsealed, with a clock that the test moves. */
export interface TestVault extends AsyncDisposable {
  readonly vault: Vault;
  readonly root: Secret<string>;
  readonly share: Secret<string>;
  readonly storage: Storage;
  readonly clock: FakeClock;
  /** Move the vault's clock. */
  readonly advanceSeconds: (seconds: number) => void;
  /** A token with these policies, made by root. */
  readonly tokenWith: (data: Readonly<Record<string, unknown>>) => Promise<string>;
}

/** Make one over memory, or over `storage`. */
export async function anUnsealedVault(init: Partial<VaultInit> = {}): Promise<TestVault> {
  const storage = init.storage ?? memoryStorage();
  const clock = new FakeClock({ now: 1_800_000_000_000 });
  const vault = await openVault({ ...init, storage }, { clock, random: () => 0.5 });
  const { shares, rootToken } = await vault.init({ shares: 1, threshold: 1 });
  const [share] = shares;
  if (share === undefined) throw new TypeError("a vault of one share gave none");
  await vault.unseal(share);
  return {
    vault,
    root: rootToken,
    share,
    storage,
    clock,
    advanceSeconds: (seconds) => {
      clock.advance(seconds * 1000);
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
export const echoBackend: BackendFactory = (mount, barrier) => {
  const handle = async (request: PathRequest<unknown>): Promise<Answer | undefined> => {
    const { operation: asked, path, data, caller } = request;
    if (asked === "create" || asked === "update") {
      const value = Buffer.from(JSON.stringify(data));
      await barrier.transaction([], [{ type: "put", key: mount.storagePrefix + path, value }]);
    }
    if (path === "nothing") return undefined;
    const ttls = { default: mount.defaultTtlSeconds, max: mount.maxTtlSeconds };
    return { data: { operation: asked, path, data, ttls, caller: caller?.token.entry.accessor ?? null } };
  };
  const all = (access: Access): BackendPath["operations"] => {
    const echo: PathOperation = {
      access,
      summary: "Echo.",
      fields: undefined,
      handle: (request) => handle({ ...request, fields: {} }),
    };
    return { read: echo, update: echo, patch: echo, delete: echo, list: echo, scan: echo };
  };
  const paths = new PathTable([
    { pattern: "open", operations: all("anyone") },
    { pattern: "open/*path", operations: all("anyone") },
    {
      pattern: "stored/*path",
      operations: all("token"),
      exists: async ({ path }) => (await barrier.get(`${mount.storagePrefix}stored/${path}`)) !== undefined,
    },
    { pattern: "*path", operations: all("token") },
  ]);
  return Promise.resolve({ paths, [Symbol.asyncDispose]: () => Promise.resolve() });
};
