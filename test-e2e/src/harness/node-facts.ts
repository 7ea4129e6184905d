import { askRks, clusterState, tokenState } from "./ask-rks.js";
import type { Cluster } from "./cluster.js";

/** What no trouble of network or clock may change. */
export interface NodeFacts {
  readonly nodes: readonly string[];
  readonly tokenUses: number;
  readonly serial: string;
  /** Renewals that were finished. */
  readonly generation: number;
  /** Conditions that hold, sorted. */
  readonly conditions: readonly string[];
  readonly pods: readonly { readonly restarts: number; readonly startedAt: string | undefined }[];
}

/** A node as its cluster sees it now; `tokenId` is of the token that it joined with. */
export async function nodeFacts(cluster: Cluster, name: string, tokenId: string): Promise<NodeFacts> {
  const [{ nodes, pods }, token, details] = await Promise.all([
    clusterState(cluster),
    tokenState(cluster, tokenId),
    askRks(cluster, "GET", `/v1/rk8s/nodes/${name}`) as Promise<{
      certificateSerial: string;
      certificateGeneration: number;
      conditions: { type: string; status: string }[];
    }>,
  ]);
  return {
    nodes: nodes.map((node) => node.name),
    tokenUses: token.usedCount,
    serial: details.certificateSerial,
    generation: details.certificateGeneration,
    conditions: details.conditions
      .filter(({ status }) => status === "True")
      .map(({ type }) => type)
      .toSorted(),
    pods: pods.map(({ status: { containerStatuses } }) => ({
      restarts: containerStatuses[0]?.restartCount ?? 0,
      startedAt: containerStatuses[0]?.state.running?.startedAt,
    })),
  };
}
