import { FakeClock } from "@rk8s/protocol/testing";

import type { BackendFactory, Connection, JsonObject, Operation } from "../../vault/backend.js";
import type { VaultAuth } from "../../vault/request.js";
import type { VaultInit } from "../../vault/vault.js";
import { anUnsealedVault, type TestVault } from "../../vault/testing/unsealed-vault.js";

/** A vault with one login method mounted, and short ways to ask it. */
export interface LoginVault extends TestVault {
  /** Ask the method as root; the answer's data. */
  readonly ask: (operation: Operation, path: string, data?: JsonObject) => Promise<unknown>;
  readonly login: (data: JsonObject, connection?: Connection) => Promise<VaultAuth>;
}

/** Mount the method `type`, made by `make`, at `auth/<type>`. Its clock moves with the vault's. */
export async function aLoginVault(
  type: string,
  make: (clock: FakeClock) => BackendFactory,
  init: Partial<VaultInit> = {},
): Promise<LoginVault> {
  const clock = new FakeClock({ now: 1_800_000_000_000 });
  const made = await anUnsealedVault({ ...init, loginMethods: { [type]: make(clock) } });
  const { vault, root } = made;
  await vault.write(root, `sys/auth/${type}`, { type });
  return {
    ...made,
    advanceSeconds: (seconds) => {
      clock.advance(seconds * 1000);
      made.advanceSeconds(seconds);
    },
    ask: async (operation, path, data) => {
      const request = { operation, path: `auth/${type}/${path}`, data, clientToken: root };
      return (await vault.handle(request))?.data;
    },
    login: async (data, connection) => {
      const path = `auth/${type}/login`;
      const answer = await vault.handle({ operation: "update", path, data, connection });
      if (answer?.auth === undefined || answer.auth === null) throw new TypeError("no login");
      return answer.auth;
    },
    [Symbol.asyncDispose]: () => made[Symbol.asyncDispose](),
  };
}
