import { z } from "zod";

import { count, flag, text, requiredText } from "../field-types.js";
import { type BackendPath, operation } from "../path-table.js";
import type { Vault, VaultStatus } from "../vault.js";

/** The paths below `sys/` that the vault serves whether it is sealed or not. */
export function sealPaths(vault: Vault, clock: { now(): number }): readonly BackendPath[] {
  const unseal = operation({
    access: "anyone",
    summary: "Give one share of the unseal key.",
    fields: z.object({ key: text(""), reset: flag(false), migrate: flag(false) }),
    handle: async ({ fields, data }) => {
      if (fields.reset) await vault.resetUnseal();
      else await vault.unseal(keyField.parse(data["key"]));
      return { data: describeStatus(vault.status()), form: "bare" };
    },
  });
  const keyField = requiredText({ maxCharacters: 1024 });
  return [
    {
      pattern: "health",
      operations: {
        read: operation({
          access: "anyone",
          summary: "Tell whether the vault is initialised and unsealed.",
          handle: () => ({ data: describeHealth(vault.status(), clock.now()), form: "bare" }),
        }),
      },
    },
    {
      pattern: "seal-status",
      operations: {
        read: operation({
          access: "anyone",
          summary: "Tell how the vault is sealed and how far an unsealing is.",
          handle: () => ({ data: describeStatus(vault.status()), form: "bare" }),
        }),
      },
    },
    {
      pattern: "init",
      operations: {
        read: operation({
          access: "anyone",
          summary: "Tell whether the vault is initialised.",
          handle: () => ({ data: { initialized: vault.status().initialized }, form: "bare" }),
        }),
        update: operation({
          access: "anyone",
          summary: "Make the vault's keys and its root token.",
          fields: z.object({ secret_shares: count(1), secret_threshold: count(1) }),
          handle: async ({ fields }) => {
            const result = await vault.init({
              shares: fields.secret_shares,
              threshold: fields.secret_threshold,
            });
            const shares = result.shares.map((share) => share.reveal());
            return {
              data: {
                keys: shares.map((share) => Buffer.from(share, "base64").toString("hex")),
                keys_base64: shares,
                root_token: result.rootToken.reveal(),
              },
              form: "bare",
            };
          },
        }),
      },
    },
    { pattern: "unseal", operations: { update: unseal } },
    {
      pattern: "seal",
      operations: {
        update: operation({
          access: "sudo",
          summary: "Forget the keys.",
          handle: async () => {
            await vault.seal();
            return undefined;
          },
        }),
      },
    },
  ];
}

/** The body of Vault's `sys/health`. */
export function describeHealth(status: VaultStatus, nowMs: number): Record<string, unknown> {
  const { initialized, sealed, version } = status;
  return {
    initialized,
    sealed,
    standby: false,
    performance_standby: false,
    replication_performance_mode: "disabled",
    replication_dr_mode: "disabled",
    server_time_utc: Math.floor(nowMs / 1000),
    version,
  };
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
