import { systemClock } from "@rk8s/host";
import type { Clock, Logger } from "@rk8s/protocol";
import { loginMethods, secretsEngines } from "./mount-types.js";
import { Vault, type VaultInit } from "./vault/vault.js";

export interface OpenVaultPorts {
  readonly clock?: Clock;
  readonly logger?: Logger;
}

/**
 * Open a vault in this process, sealed or not yet initialised, with the engines `pki` and `kv` (`sys/mounts/pki`, type
 * `pki`) and the login methods `approle`, `cert` and `kubernetes` (`sys/auth/approle`, type `approle`) ready to be mounted.
 * Then `init`, `unseal`, and `read`, `write`, `list`, `delete` with a token. Disposing it seals it; the storage stays the
 * caller's to close.
 * @throws {RksError} STORAGE_CORRUPT when the store holds something that is not a vault.
 */
export async function openVault(init: VaultInit, ports: OpenVaultPorts = {}): Promise<Vault> {
  const { clock = systemClock } = ports;
  const backends = { ...secretsEngines({ clock }), ...init.backends };
  const methods = { ...loginMethods({ clock }), ...init.loginMethods };
  return Vault.open({ ...init, backends, loginMethods: methods }, { ...ports, clock });
}
