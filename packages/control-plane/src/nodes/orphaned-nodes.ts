import { type Clock, type Logger, RksError } from "@rk8s/protocol";
import type { RecordCollection, Storage, Stored } from "@rk8s/storage";
import type { Changes } from "../vault/members/changes.js";
import type { Members, Sharing } from "../vault/members/sharing.js";
import { type Liveness, livenessOf } from "./liveness.js";
import { type NodeState, nodeStates } from "./node-state.js";

/** How often the graces of orphans are looked at. */
const LOOK_MS = 500;

/** A node whose control plane was seen to be gone. */
interface Orphan {
  /** That control plane. */
  readonly owner: string | undefined;
  /** Since when; monotonic milliseconds. */
  readonly sinceMs: number;
  /** What is written of it by now. */
  judged: Liveness;
}

export interface OrphanedNodesPorts {
  readonly barrier: Storage;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly sharing: Sharing;
}

/**
 * Judges the nodes whose control plane is gone, which is one process's work: a node that registers nowhere within the grace is
 * NotReady, and Unknown after three. The grace begins when this process sees that the owner is gone. A node that any control
 * plane has a session with is never touched: its registration changes the record that a judgement compares.
 */
export class OrphanedNodes {
  readonly #graceMs: number;
  readonly #ports: OrphanedNodesPorts;
  readonly #states: RecordCollection<NodeState>;
  readonly #orphans = new Map<string, Orphan>();
  #mustScan = true;

  constructor(init: { readonly heartbeatGraceSeconds: number }, ports: OrphanedNodesPorts) {
    this.#graceMs = init.heartbeatGraceSeconds * 1000;
    this.#ports = ports;
    this.#states = nodeStates(ports.barrier);
  }

  /** Judge until aborted, while this process is the steward. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger, sharing } = this.#ports;
    const { members, stewardship, changes } = sharing;
    this.#follow(members, changes);
    while (!signal.aborted) {
      if (!stewardship.isHeld) this.#forget();
      await stewardship.whenHeld(signal);
      if (signal.aborted) return;
      await this.#round(members).catch((reason: unknown) => {
        const { code, message } = RksError.from(reason);
        logger.warn("Nodes of a control plane that is gone could not be judged", { code, reason: message });
      });
      await clock.sleep(LOOK_MS, { signal }).catch(() => undefined);
    }
  }

  #follow(members: Members, changes: Changes): void {
    const scan = (): void => {
      this.#mustScan = true;
    };
    members.onChange(scan);
    changes.onGap(scan);
  }

  #forget(): void {
    this.#orphans.clear();
    this.#mustScan = true;
  }

  async #round(members: Members): Promise<void> {
    if (!members.isShared) return;
    if (this.#mustScan) {
      this.#mustScan = false;
      try {
        for await (const stored of this.#states.list()) this.#note(stored, members);
      } catch (reason) {
        this.#mustScan = true;
        throw reason;
      }
    }
    for (const [name, orphan] of this.#orphans) {
      const liveness = this.#livenessOf(orphan);
      if (liveness !== orphan.judged) await this.#judge(name, orphan, { liveness, members });
    }
  }

  #note({ name, record }: Stored<NodeState>, members: Members): void {
    const { owner } = record;
    const known = this.#orphans.get(name);
    if (!isOrphan(record, members)) this.#orphans.delete(name);
    else if (known === undefined || known.owner !== owner) {
      this.#orphans.set(name, { owner, sinceMs: this.#ports.clock.monotonicMs(), judged: "Ready" });
    }
  }

  #livenessOf({ sinceMs }: Orphan): Liveness {
    const signs = { lastHeartbeatMs: sinceMs, isStopped: false, isHealthy: true };
    return livenessOf(signs, { monotonicMs: this.#ports.clock.monotonicMs(), graceMs: this.#graceMs });
  }

  async #judge(
    name: string,
    orphan: Orphan,
    { liveness, members }: { readonly liveness: Liveness; readonly members: Members },
  ): Promise<void> {
    const { barrier, clock, logger } = this.#ports;
    const stored = await this.#states.read(name);
    if (stored === undefined || !isOrphan(stored.record, members)) {
      this.#orphans.delete(name);
      return;
    }
    const { liveness: before } = stored.record;
    if (liveness !== before) {
      const since = new Date(clock.now()).toISOString();
      const { succeeded } = await barrier.transaction(
        [this.#states.unchanged(name, stored)],
        [this.#states.put(name, { ...stored.record, liveness, since })],
      );
      if (!succeeded) return;
      logger.info("Node changed", { nodeName: name, from: before, to: liveness });
    }
    orphan.judged = liveness;
    if (liveness === "Unknown") this.#orphans.delete(name);
  }
}

/** Whether whoever had the node's session is gone, and somebody may still think that the node is there. */
function isOrphan({ owner, liveness }: NodeState, members: Members): boolean {
  return liveness !== "Unknown" && (owner === undefined || members.find(owner) === undefined);
}
