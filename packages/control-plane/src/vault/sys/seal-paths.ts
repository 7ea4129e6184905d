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
          fields: healthCodes,
          handle: ({ fields }) => {
            const status = vault.status();
            return {
              data: describeHealth(status, clock.now()),
              form: "bare",
              status: codeOf(status, fields),
            };
          },
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

/** HTTP status of `sys/health`, as the query asks for it; there are no standbys, so some are never used. */
const healthCodes = z.object({
  standbyok: flag(false),
  perfstandbyok: flag(false),
  activecode: httpStatus(200),
  standbycode: httpStatus(429),
  drsecondarycode: httpStatus(472),
  performancestandbycode: httpStatus(473),
  uninitcode: httpStatus(501),
  sealedcode: httpStatus(503),
});

function httpStatus(fallback: number): z.ZodType<number> {
  return count(fallback).refine(
    (code) => code >= 200 && code <= 599,
    "expected an HTTP status from 200 to 599",
  );
}

function codeOf({ initialized, sealed }: VaultStatus, codes: z.output<typeof healthCodes>): number {
  if (!initialized) return codes.uninitcode;
  return sealed ? codes.sealedcode : codes.activecode;
}

/** The body of Vault's `sys/health`. */
function describeHealth(status: VaultStatus, nowMs: number): Record<string, unknown> {
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
    ...describeCluster(status),
  };
}

/** The body of Vault's `sys/seal-status`. */
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
    build_date: status.buildDate,
    migration: false,
    recovery_seal: false,
    storage_type: status.storageType,
    ...describeCluster(status),
  };
}

function describeCluster({ cluster }: VaultStatus): Record<string, unknown> {
  return cluster === undefined ? {} : { cluster_name: cluster.name, cluster_id: cluster.id };
}
