import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import { count, flag, list, text } from "../field-types.js";
import { type BackendPath, operation } from "../path-table.js";
import type { OpenSeal } from "../seal/open-seal.js";
import type { Vault, VaultStatus } from "../vault.js";
import { clusterPaths } from "./cluster-paths.js";
import { describeShares } from "./describe-shares.js";
import { keyPaths } from "./key-paths.js";
import { assertNotAsked } from "./not-asked.js";
import { rekeyPaths } from "./rekey-paths.js";
import { rootGenerationPaths } from "./root-generation-paths.js";

/** What the paths need besides the vault itself. */
export interface SealPathPorts {
  readonly clock: { now(): number };
  /** Do something to the open seal, alone. @throws {RksError} VAULT_SEALED, VAULT_NOT_INITIALIZED */
  readonly operate: <T>(action: (open: OpenSeal) => Promise<T>) => Promise<T>;
  /** Tell whoever must know that the shares are others now; gives warnings for the caller. */
  readonly afterRekey: () => Promise<readonly string[]>;
}

/** The paths below `sys/` about the seal and its keys. Those for anyone are served while it is sealed as well. */
export function sealPaths(vault: Vault, ports: SealPathPorts): readonly BackendPath[] {
  return [
    ...statusPaths(vault, ports.clock),
    initPath(vault),
    unsealPath(vault),
    sealPath(vault),
    ...clusterPaths(vault),
    ...keyPaths(ports),
    ...rekeyPaths(ports),
    ...rootGenerationPaths(ports),
  ];
}

function statusPaths(vault: Vault, clock: { now(): number }): readonly BackendPath[] {
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
  ];
}

function initPath(vault: Vault): BackendPath {
  return {
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
        fields: z.object({
          secret_shares: count(0),
          secret_threshold: count(0),
          stored_shares: count(0),
          pgp_keys: list([]),
          root_token_pgp_key: text(""),
          recovery_shares: count(0),
          recovery_threshold: count(0),
          recovery_pgp_keys: list([]),
        }),
        handle: async ({ fields }) => {
          const { secret_shares: shares, secret_threshold: threshold, ...others } = fields;
          assertNotAsked(others);
          const result = await vault.init({ shares, threshold });
          return {
            data: { ...describeShares(result.shares), root_token: result.rootToken.reveal() },
            form: "bare",
          };
        },
      }),
    },
  };
}

function unsealPath(vault: Vault): BackendPath {
  return {
    pattern: "unseal",
    operations: {
      update: operation({
        access: "anyone",
        summary: "Give one share of the unseal key.",
        fields: z.object({
          key: text("", { maxCharacters: 1024 }),
          reset: flag(false),
          migrate: flag(false),
        }),
        handle: async ({ fields }) => {
          assertNotAsked({ migrate: fields.migrate });
          if (fields.reset) await vault.resetUnseal();
          else if (fields.key === "") throw noKey();
          else await vault.unseal(fields.key);
          return { data: describeStatus(vault.status()), form: "bare" };
        },
      }),
    },
  };
}

function noKey(): RksError {
  return new RksError("INPUT_INVALID", "'key' must be specified in request body as JSON", {
    suggestion: "Give one unseal share as key, or reset: true to begin anew.",
  });
}

function sealPath(vault: Vault): BackendPath {
  return {
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
  };
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
function describeStatus(status: VaultStatus): Record<string, unknown> {
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
