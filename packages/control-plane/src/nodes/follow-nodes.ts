import { type Logger, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { Changes } from "../vault/members/changes.js";
import { identityCloned, nodeBanned, nodeEvicted, notCurrent, standingOf } from "./node-certificates.js";
import type { NodeLinks } from "./node-link.js";
import type { NodeOwners } from "./node-owners.js";
import { nodeRecords } from "./node-record.js";

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
  const rechecks = [
    ["cluster/nodes/", (name: string) => recheckRecord(name, nodes)],
    ["cluster/node-states/", (name: string) => recheckOwner(name, nodes)],
  ] as const;
  for (const [prefix, recheck] of rechecks) {
    const recheckLater = (name: string): void => {
      recheck(name).catch((reason: unknown) => {
        const { code, message } = RksError.from(reason);
        nodes.logger.warn("Node could not be looked at again", { nodeName: name, code, reason: message });
      });
    };
    changes.on(prefix, (key) => recheckLater(key.slice(prefix.length)));
    changes.onGap(() => {
      for (const name of new Set([...nodes.links.names(), ...nodes.names()])) recheckLater(name);
    });
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
