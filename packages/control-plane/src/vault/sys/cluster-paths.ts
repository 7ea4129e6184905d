import { hostname } from "node:os";

import { type BackendPath, operation } from "../path-table.js";
import type { Vault } from "../vault.js";
import { vaultSealed } from "../seal/barrier.js";

/**
 * What clients of a cluster of vaults ask to find the one that answers. Here each process answers for itself, also where others
 * serve the same vault from one store: none is a standby, so there is no leader to go to. Relative to `sys/`.
 */
export function clusterPaths(vault: Vault): readonly BackendPath[] {
  return [
    {
      pattern: "leader",
      operations: {
        read: operation({
          access: "anyone",
          summary: "Tell which vault answers: this one.",
          handle: () => {
            if (vault.status().sealed) throw vaultSealed();
            return { data: LEADER, form: "bare" };
          },
        }),
      },
    },
    {
      pattern: "ha-status",
      operations: {
        read: operation({
          summary: "List who serves the vault: the process that is asked; others answer for themselves.",
          handle: () => ({ data: { nodes: [{ ...NODE, hostname: hostname() }] }, form: "repeated" }),
        }),
      },
    },
    {
      pattern: "step-down",
      operations: {
        update: operation({
          access: "sudo",
          summary: "Let another vault lead; none does, so nothing happens.",
          handle: () => undefined,
        }),
      },
    },
    ...["replication/status", "replication/dr/status", "replication/performance/status"].map(
      (pattern): BackendPath => ({
        pattern,
        operations: {
          read: operation({
            access: "anyone",
            summary: "Tell whether the vault is replicated: it is not.",
            handle: () => ({ data: { mode: "disabled" } }),
          }),
        },
      }),
    ),
  ];
}

const LEADER = {
  ha_enabled: false,
  is_self: true,
  active_time: "0001-01-01T00:00:00Z",
  leader_address: "",
  leader_cluster_address: "",
  performance_standby: false,
  performance_standby_last_remote_wal: 0,
};

const NODE = { api_address: "", cluster_address: "", active_node: true, last_echo: null };
