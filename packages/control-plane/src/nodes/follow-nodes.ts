import type { Logger, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { type Changes, followRecords } from "../vault/members/changes.js";
import { identityCloned, nodeBanned, nodeEvicted, notCurrent, standingOf } from "./node-certificates.js";
import type { NodeLinks } from "./node-link.js";
import type { NodeOwners } from "./node-owners.js";
import { nodeRecords, NODES_PREFIX } from "./node-record.js";
import { NODE_STATES_PREFIX } from "./node-state.js";

/** What is known of nodes here, and what becomes of it when another control plane has changed a node. */
export interface FollowedNodes {
  readonly barrier: Storage;
  readonly logger: Logger;
  readonly links: NodeLinks;
  readonly owners: NodeOwners;
  /** Of those that are registered here. */
  readonly names: () => Iterable<string>;
  readonly isRegistered: (name: string) => boolean;
  /** Whether a registration of it is under way here. */
  readonly isClaiming: (name: string) => boolean;
  /** It is not registered here any more. */
  readonly drop: (name: string) => void;
}

/**
 * Do to connections what other control planes decide: those of a node that was evicted, banned or replaced end, and those of
 * one that has registered elsewhere.
 */
export function followNodes(changes: Changes, nodes: FollowedNodes): void {
  const known = (): Set<string> => new Set([...nodes.links.names(), ...nodes.names()]);
  const onFailure = (nodeName: string, { code, message }: RksError): void => {
    nodes.logger.warn("Node could not be looked at again", { nodeName, code, reason: message });
  };
  const rechecks = [
    [NODES_PREFIX, recheckRecord],
    [NODE_STATES_PREFIX, recheckOwner],
  ] as const;
  for (const [prefix, recheck] of rechecks) {
    followRecords(changes, { prefix, known, recheck: (name) => recheck(name, nodes), onFailure });
  }
}

async function recheckRecord(name: string, nodes: FollowedNodes): Promise<void> {
  const { links } = nodes;
  if (links.of(name).length === 0 && !nodes.isRegistered(name)) return;
  const record = (await nodeRecords(nodes.barrier).read(name))?.record;
  if (record === undefined) {
    nodes.drop(name);
    links.close(name, "NODE_EVICTED", nodeEvicted(name).message);
  } else if (record.banned !== undefined) links.close(name, "NODE_BANNED", nodeBanned({ name }).message);
  else if (record.cloned !== undefined) links.close(name, "IDENTITY_CLONED", identityCloned(name).message);
  else {
    for (const link of links.of(name)) {
      const { certificate } = link;
      if (certificate === undefined || standingOf(record, certificate) !== "neither") continue;
      // Whoever was replaced hears so when it is back; a node that renewed elsewhere has a newer connection already.
      link.close("CONFLICT", notCurrent(name, certificate.serialNumber).message);
    }
  }
}

async function recheckOwner(name: string, nodes: FollowedNodes): Promise<void> {
  if (!nodes.isRegistered(name) || nodes.isClaiming(name)) return;
  const state = (await nodes.owners.read(name))?.record;
  if (!nodes.owners.isTaken(state) || nodes.isClaiming(name)) return;
  nodes.drop(name);
  nodes.links.close(name, "CONFLICT", `node "${name}" has registered with another control plane`);
}
