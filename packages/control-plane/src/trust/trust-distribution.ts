import { aborted, type Clock, type Logger, type Message, request, RksError } from "@rk8s/protocol";
import { type RecordCollection, type Storage, untilCommitted } from "@rk8s/storage";
import { KeyedQueue } from "../nodes/keyed-queue.js";
import type { NodeLink, NodeLinks } from "../nodes/node-link.js";
import { type NodeRecord, nodeRecords } from "../nodes/node-record.js";
import type { ClusterCa } from "../pki/cluster-ca.js";
import { phaseOf } from "../pki/cluster-roots.js";
import { nodeIsChanging } from "../nodes/node-certificates.js";
import { hasAcknowledged } from "./trust-survey.js";

/** Nodes that are told at the same time; it also spreads the renewals that they are told to make. */
const MAX_CONCURRENT = 32;
/** Pause before nodes that did not answer are told again. */
const RETRY_MS = 5_000;

export interface TrustDistributionPorts {
  readonly barrier: Storage;
  readonly clusterCa: Pick<ClusterCa, "trust" | "roots" | "isOfActiveRoot">;
  readonly links: Pick<NodeLinks, "current" | "inUse">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Tells the nodes which roots to trust, and remembers who has acknowledged: every live node when the roots change, each
 * of the others when it comes back. Before the first rotation it does nothing.
 */
export class TrustDistribution {
  readonly #ports: TrustDistributionPorts;
  readonly #records: RecordCollection<NodeRecord>;
  readonly #queue = new KeyedQueue();
  /** The generation that the node at the other end has said it has. */
  readonly #heard = new WeakMap<NodeLink, number>();
  #wake: (() => void) | undefined;
  #isChanged = false;

  constructor(ports: TrustDistributionPorts) {
    this.#ports = ports;
    this.#records = nodeRecords(ports.barrier);
  }

  /** The roots have changed: tell everybody. */
  changed(): void {
    this.#isChanged = true;
    this.#wake?.();
  }

  /** How many connected nodes have not acknowledged the newest roots. */
  behind(): number {
    const { clusterCa, links } = this.#ports;
    const { generation } = clusterCa.trust();
    return [...links.inUse()].filter((link) => (this.#heard.get(link) ?? 0) < generation).length;
  }

  /** A node has registered and said which generation it has. Never rejects. */
  async registered(link: NodeLink, generation = 0): Promise<void> {
    const { clusterCa } = this.#ports;
    this.#heard.set(link, generation);
    if (clusterCa.trust().generation === 0) return;
    await this.#settle(link, async () => {
      const current = clusterCa.trust().generation;
      if (generation >= current) await this.#acknowledge(link.nodeName, current);
      const node = await this.#records.read(link.nodeName);
      if (node === undefined) return;
      const mustRenew = await this.#mustRenew(node.record);
      if (generation < current || mustRenew) await this.#tell(link, mustRenew);
    });
  }

  /** Tell who does not know yet, again and again, until aborted. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#isChanged = false;
      const isDone = await this.#round(signal).catch((reason: unknown) => {
        const { code, message } = RksError.from(reason);
        this.#ports.logger.warn("Roots could not be distributed", { code, reason: message });
        return false;
      });
      await this.#pause(isDone ? undefined : RETRY_MS, signal);
    }
  }

  /** Whether nobody is left who could be told now and was not. */
  async #round(signal: AbortSignal): Promise<boolean> {
    const { generation } = this.#ports.clusterCa.trust();
    if (generation === 0) return true;
    let isDone = true;
    const active = new Set<Promise<void>>();
    for await (const { record } of this.#records.list()) {
      if (signal.aborted) break;
      const link = this.#ports.links.current(record.name);
      if (link === undefined || hasAcknowledged(record, generation)) continue;
      const tell = async (): Promise<void> => {
        const outcome = await this.#settle(link, async () => this.#tell(link, await this.#mustRenew(record)));
        if (outcome === "again") isDone = false;
      };
      const told = tell().finally(() => active.delete(told));
      active.add(told);
      if (active.size >= MAX_CONCURRENT) await Promise.race(active);
    }
    await Promise.all(active);
    return isDone;
  }

  /** One after another per node. A node that cannot be told now is told again; one that will not is left alone. */
  async #settle(link: NodeLink, work: () => Promise<void>): Promise<"done" | "again"> {
    try {
      await this.#queue.run(link.nodeName, work);
      return "done";
    } catch (reason) {
      const { code, message, retryable } = RksError.from(reason);
      const { nodeName } = link;
      this.#ports.logger.warn("Node did not take the roots", { nodeName, code, reason: message });
      return retryable && !link.ended.aborted ? "again" : "done";
    }
  }

  async #tell(link: NodeLink, renew: boolean): Promise<void> {
    const { clusterCa, clock } = this.#ports;
    const { generation, bundle, refusedIssuers } = clusterCa.trust();
    const message: Message<"TrustBundle"> = {
      type: "TrustBundle",
      generation,
      bundle: [...bundle],
      renew,
      ...(refusedIssuers.length === 0 ? {} : { refusedIssuers: [...refusedIssuers] }),
    };
    await request(link, message, "Ack", { clock, signal: link.ended });
    this.#heard.set(link, generation);
    await this.#acknowledge(link.nodeName, generation);
  }

  /** Only while another root goes away, or an intermediate is tainted: else a certificate renews itself in its own time. */
  async #mustRenew({ serialNumber }: NodeRecord): Promise<boolean> {
    const { clusterCa } = this.#ports;
    const phase = phaseOf(clusterCa.roots);
    const isTainted = clusterCa.trust().refusedIssuers.length > 0;
    if (phase !== "activated" && phase !== "tainted" && !isTainted) return false;
    return !(await clusterCa.isOfActiveRoot(serialNumber));
  }

  async #acknowledge(nodeName: string, generation: number): Promise<void> {
    await untilCommitted(nodeIsChanging(nodeName), async () => {
      const node = await this.#records.read(nodeName);
      if (node === undefined || hasAcknowledged(node.record, generation)) return true;
      const { succeeded } = await this.#ports.barrier.transaction(
        [this.#records.unchanged(nodeName, node)],
        [this.#records.put(nodeName, { ...node.record, trustGeneration: generation })],
      );
      return succeeded ? true : undefined;
    });
  }

  /** Until the roots change, for at most `limitMs`. Never rejects. */
  async #pause(limitMs: number | undefined, signal: AbortSignal): Promise<void> {
    if (this.#isChanged || signal.aborted) return;
    const over = new AbortController();
    const end = (): void => over.abort();
    this.#wake = end;
    signal.addEventListener("abort", end, { once: true });
    try {
      if (limitMs === undefined) await aborted(over.signal);
      else await this.#ports.clock.sleep(limitMs, { signal: over.signal }).catch(() => undefined);
    } finally {
      this.#wake = undefined;
      signal.removeEventListener("abort", end);
    }
  }
}
