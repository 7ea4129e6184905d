import { booleanField, countField, requiredText } from "./fields.js";
import type { Route } from "./route.js";
import type { Vault, VaultStatus } from "./vault.js";

/** The paths that the vault serves whether it is sealed or not. */
export function vaultRoutes(vault: Vault): readonly Route[] {
  return [
    {
      path: "sys/health",
      operation: "read",
      access: "anyone",
      handle: ({ nowMs }) => {
        const { initialized, sealed, version } = vault.status();
        return {
          data: {
            initialized,
            sealed,
            standby: false,
            performance_standby: false,
            replication_performance_mode: "disabled",
            replication_dr_mode: "disabled",
            server_time_utc: Math.floor(nowMs / 1000),
            version,
          },
        };
      },
    },
    {
      path: "sys/seal-status",
      operation: "read",
      access: "anyone",
      handle: () => ({ data: describeStatus(vault.status()) }),
    },
    {
      path: "sys/init",
      operation: "read",
      access: "anyone",
      handle: () => ({ data: { initialized: vault.status().initialized } }),
    },
    {
      path: "sys/init",
      operation: "update",
      access: "anyone",
      handle: async ({ data }) => {
        const result = await vault.init({
          shares: countField(data, "secret_shares") ?? 1,
          threshold: countField(data, "secret_threshold") ?? 1,
        });
        const shares = result.shares.map((share) => share.reveal());
        return {
          data: {
            keys: shares.map((share) => Buffer.from(share, "base64").toString("hex")),
            keys_base64: shares,
            root_token: result.rootToken.reveal(),
          },
        };
      },
    },
    {
      path: "sys/unseal",
      operation: "update",
      access: "anyone",
      handle: async ({ data }) => {
        if (booleanField(data, "reset") === true) await vault.resetUnseal();
        else await vault.unseal(requiredText(data, "key"));
        return { data: describeStatus(vault.status()) };
      },
    },
    {
      path: "sys/seal",
      operation: "update",
      access: "sudo",
      handle: async () => {
        await vault.seal();
        return undefined;
      },
    },
  ];
}

/** The body of Vault's `sys/seal-status`, as far as the vault itself knows it. */
export function describeStatus(status: VaultStatus): Record<string, unknown> {
  return {
    type: status.type,
    initialized: status.initialized,
    sealed: status.sealed,
    t: status.threshold,
    n: status.shares,
    progress: status.progress,
    nonce: status.nonce,
    version: status.version,
    migration: false,
    recovery_seal: false,
  };
}
