import { type NodeStatus, request, RksError } from "@rk8s/protocol";
import { type RecordCollection, untilCommitted } from "@rk8s/storage";
import { audited } from "../audit/audited.js";
import { type Liveness, livenessOf } from "./liveness.js";
import { type NodeLink, NodeLinks } from "./node-link.js";
import { type NodeRecord, nodeRecords } from "./node-record.js";
import { NodeInstances } from "./node-instances.js";
import { NodeRefusals, type NodeRefusalsPorts } from "./node-refusals.js";
import { connectedElsewhere, NodeOwners } from "./node-owners.js";
import { addressOf, type NodeState, nodeStates } from "./node-state.js";
import { OrphanedNodes } from "./orphaned-nodes.js";
import { type Sharing, UNSHARED } from "../vault/members/sharing.js";
import type { Member } from "../vault/members/places.js";
import { type RenewalAnswer, renewalAnswers } from "./renewal-answer.js";
import { followNodes } from "./follow-nodes.js";
import { identityCloned, nodeIsChanging, serialNumbersOf } from "./node-certificates.js";
import {
  describeNode,
  type KnownNode,
  type NodeDetails,
  type NodeSummary,
  summarizeNode,
} from "./node-view.js";

/** Pauses between two looks at who is silent; in between, the next look is when the first one's grace is over. */
const MAX_PAUSE_MS = 500;
const MIN_PAUSE_MS = 20;
/** How often what changed is written down. */
const WRITE_INTERVAL_MS = 500;
/** States that are written at the same time. */
const MAX_WRITES = 32;

/** Processes that do not say which they are count as one: a copy must not hide by saying nothing. */
const UNNAMED_INSTANCE = "";

export interface NodeRegistryPorts extends Omit<NodeRefusalsPorts, "links" | "instances"> {
  /** Called when a node has become Ready. */
  readonly onReady?: (nodeName: string) => void;
  /** Called when a node was forgotten. */
  readonly onForgotten?: (nodeName: string) => void;
  /** With whom the store is shared. Default: nobody. */
  readonly sharing?: Sharing;
}

/** What a node says of itself when it registers. */
export interface NodeReport {
  readonly version: string;
  readonly status: NodeStatus;
  readonly instanceId?: string | undefined;
  readonly survives?: NodeState["survives"];
  readonly clockSkewSeconds?: number | undefined;
}

/** What is known of a node since this process started. */
interface Presence {
  version: string;
  address: string;
  status: NodeStatus;
  /** Undefined for an agent that did not say. */
  clockSkewSeconds: number | undefined;
  lastHeartbeatMs: number;
  lastHeartbeatAt: number;
  isStopped: boolean;
  liveness: Liveness;
  since: string;
  survives?: NodeState["survives"];
}

/**
 * Which nodes there are, which are connected and how they are. Identity is read from the store; liveness is
 * kept in memory by the monotonic clock and written when it changes.
 */
export class NodeRegistry {
  readonly links = new NodeLinks();
  /** Keeps nodes out. */
  readonly refusals: NodeRefusals;
  readonly #instances = new NodeInstances();
  readonly #owners: NodeOwners;
  readonly #orphans: OrphanedNodes;
  readonly #graceMs: number;
  readonly #ports: NodeRegistryPorts;
  readonly #records: RecordCollection<NodeRecord>;
  readonly #states: RecordCollection<NodeState>;
  readonly #answers: RecordCollection<RenewalAnswer>;
  readonly #present = new Map<string, Presence>();
  /** Those whom time alone can change, the longest silent first: a look at all of them is a look at the first few. */
  readonly #aging = new Map<string, Presence>();
  /** Those whose state on disk is older than what is known. */
  readonly #dirty = new Set<string>();
  /** Those that are registering at this moment: what is on disk of them is about to change. */
  readonly #claiming = new Set<string>();
  /** What a claim has written already. */
  readonly #claimed = new WeakMap<NodeLink, Presence>();

  constructor(init: { readonly heartbeatGraceSeconds: number }, ports: NodeRegistryPorts) {
    this.#graceMs = init.heartbeatGraceSeconds * 1000;
    this.#ports = ports;
    this.#records = nodeRecords(ports.barrier);
    this.#states = nodeStates(ports.barrier);
    this.#answers = renewalAnswers(ports.barrier);
    this.refusals = new NodeRefusals({ ...ports, links: this.links, instances: this.#instances });
    const { sharing = UNSHARED } = ports;
    this.#owners = new NodeOwners({ ...ports, members: sharing.members });
    this.#orphans = new OrphanedNodes(init, { ...ports, sharing });
    // When the store begins to be shared, the others have to learn whose the nodes are.
    let { isShared } = sharing.members;
    sharing.members.onChange(() => {
      if (isShared || !sharing.members.isShared) return;
      isShared = true;
      for (const name of this.#present.keys()) this.#dirty.add(name);
    });
    // Nothing can be done for them here; a control plane that the store answers can do it.
    sharing.members.onSilence(() => {
      for (const name of this.links.names()) {
        this.links.close(name, "UNAVAILABLE", "the store does not answer this control plane");
      }
    });
    followNodes(sharing.changes, {
      ...ports,
      links: this.links,
      owners: this.#owners,
      names: () => this.#present.keys(),
      isRegistered: (name) => this.#present.has(name),
      isClaiming: (name) => this.#claiming.has(name),
      drop: (name) => this.#drop(name),
    });
  }

  /** The node's record. @throws {RksError} NOT_FOUND. */
  async read(name: string): Promise<NodeRecord> {
    const stored = await this.#records.read(name);
    if (stored === undefined) throw unknownNode(name);
    return stored.record;
  }

  /**
   * A process wants to be the node. One that another has taken it from before is not gone as it should be: there are two,
   * and both are refused from now on. Of several control planes this one has the node when it resolves; `register` must
   * follow.
   * @throws {RksError} IDENTITY_CLONED, and what `NodeRefusals.quarantine` throws; NODE_EVICTED; CONFLICT when the node
   * registers with another control plane at this moment.
   */
  async claim(link: NodeLink, report: NodeReport): Promise<void> {
    const { nodeName, remoteAddress } = link;
    const { instanceId = UNNAMED_INSTANCE } = report;
    const before = this.#owners.isShared ? await this.#owners.read(nodeName) : undefined;
    const { instances } = before?.record ?? {};
    if (instances !== undefined) this.#instances.adopt(nodeName, instances);
    if (!this.#instances.take(nodeName, instanceId)) {
      await this.refusals.quarantine(nodeName, { instanceId, remoteHost: remoteAddress.host });
      throw identityCloned(nodeName);
    }
    if (!this.#owners.isShared) return;
    this.#claiming.add(nodeName);
    try {
      const presence = this.#presenceOf(link, report);
      presence.liveness = isHealthy(report.status) ? "Ready" : "NotReady";
      const state = { ...stateOf(presence), instances: this.#instances.of(nodeName) };
      await this.#owners.take(nodeName, before, state);
      this.#claimed.set(link, presence);
    } finally {
      this.#claiming.delete(nodeName);
    }
  }

  /**
   * A node says what it is. It is Ready from now on.
   * @throws {RksError} CONNECTION_LOST over a connection that was ended meanwhile: the node is evicted, or has
   * another key.
   */
  register(link: NodeLink, report: NodeReport): void {
    if (!this.links.has(link)) {
      throw new RksError("CONNECTION_LOST", `this connection of node "${link.nodeName}" has ended`);
    }
    const claimed = this.#claimed.get(link);
    this.#claimed.delete(link);
    const presence = claimed ?? this.#presenceOf(link, report);
    this.#present.set(link.nodeName, presence);
    if (claimed === undefined) this.#dirty.add(link.nodeName);
    this.#heard(link.nodeName, presence);
    this.links.use(link, report.instanceId);
    this.#look(link.nodeName);
  }

  /** The other control plane that has the node's session; undefined: none has, or this one. */
  async elsewhere(name: string): Promise<Member | undefined> {
    if (!this.#owners.isShared) return undefined;
    return this.#owners.otherOf((await this.#owners.read(name))?.record);
  }

  /** Whether any control plane has a session with the node. */
  async isConnected(name: string): Promise<boolean> {
    return this.links.current(name) !== undefined || (await this.elsewhere(name)) !== undefined;
  }

  /** A registered node is alive. Writes nothing. What its machine is, it says once, when it registers. Over a connection that is not in use any more it says nothing. */
  heartbeat(link: NodeLink, status: NodeStatus): void {
    const presence = this.#present.get(link.nodeName);
    if (presence === undefined || this.links.current(link.nodeName) !== link) return;
    presence.lastHeartbeatMs = this.#ports.clock.monotonicMs();
    presence.lastHeartbeatAt = this.#ports.clock.now();
    presence.status = { nodeInfo: presence.status.nodeInfo, ...status };
    presence.isStopped = false;
    this.#heard(link.nodeName, presence);
    this.#look(link.nodeName);
  }

  /** The node has a certificate for another key: whoever holds the one before must go. */
  replaced(name: string): void {
    this.#instances.forget(name);
    this.links.close(name, "CERTIFICATE_REVOKED", `node "${name}" joined under another key`);
  }

  /**
   * Ask the node to renew its certificate now, over its connection.
   * @throws {RksError} NOT_FOUND, UNAVAILABLE while it is not connected, AUDIT_UNWRITABLE, and what the node answers.
   */
  async requireRenewal(
    name: string,
    options: { readonly actor: string; readonly reason: string },
  ): Promise<void> {
    const { audit, clock } = this.#ports;
    const { actor, reason } = options;
    const { serialNumber } = await this.read(name);
    const link = this.links.current(name);
    if (link === undefined) {
      const other = await this.elsewhere(name);
      if (other !== undefined) throw connectedElsewhere(name, other);
      throw new RksError("UNAVAILABLE", `node "${name}" is not connected`, {
        suggestion: `Try again when \`rks node show ${name}\` says that it is.`,
      });
    }
    const event = { operation: "node.renew", actor, fields: { nodeName: name, serialNumber, reason } };
    await audited(audit, event, async () => ({
      value: await request(link, { type: "RenewalRequired", reason }, "Ack", { clock }),
    }));
  }

  /** A node's agent ends on purpose. */
  stopping(link: NodeLink): void {
    const presence = this.#present.get(link.nodeName);
    if (presence === undefined || this.links.current(link.nodeName) !== link) return;
    presence.isStopped = true;
    this.#look(link.nodeName);
  }

  /** The furthest that the clock of a node that is Ready is ahead of this one, and behind it; seconds. */
  clockSkew(): { readonly ahead: number; readonly behind: number } {
    let [ahead, behind] = [0, 0];
    for (const { liveness, clockSkewSeconds = 0 } of this.#present.values()) {
      if (liveness !== "Ready") continue;
      ahead = Math.max(ahead, clockSkewSeconds);
      behind = Math.max(behind, -clockSkewSeconds);
    }
    return { ahead, behind };
  }

  /** How many of the nodes that were heard of since this process started are how. */
  tally(): Readonly<Record<Liveness, number>> {
    const tally = { Ready: 0, NotReady: 0, Unknown: 0 };
    for (const { liveness } of this.#present.values()) tally[liveness] += 1;
    return tally;
  }

  /** Every node, or those that follow the name `after`, in the order of their names. */
  async *known(after?: string): AsyncGenerator<KnownNode, void, void> {
    for await (const { record } of this.#records.list("", after)) yield await this.#know(record);
  }

  /** One node. @throws {RksError} NOT_FOUND. */
  async know(name: string): Promise<KnownNode> {
    return this.#know(await this.read(name));
  }

  async list(): Promise<NodeSummary[]> {
    const nodes: NodeSummary[] = [];
    for await (const node of this.known()) nodes.push(summarizeNode(node));
    return nodes;
  }

  /** @throws {RksError} NOT_FOUND. */
  async show(name: string): Promise<NodeDetails> {
    return describeNode(await this.know(name), this.#ports.clock.now());
  }

  /**
   * End the node's connections and forget it. Its certificate is refused from then on; a new token lets it join
   * again.
   * @throws {RksError} NOT_FOUND, AUDIT_UNWRITABLE, CONFLICT, and as the storage does.
   */
  async evict(name: string, options: { readonly actor: string }): Promise<NodeDetails> {
    const details = await this.show(name);
    const { uid, certificateSerial } = details;
    const fields = { nodeName: name, uid, serialNumber: certificateSerial };
    const event = { operation: "node.evict", actor: options.actor, fields };
    await audited(this.#ports.audit, event, async () => ({ value: await this.#forget(name) }));
    return details;
  }

  /** Notice what only time changes, and write down what changed; until aborted. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#watch(signal), this.#write(signal), this.#orphans.run(signal)]);
    await this.refresh();
  }

  /** One round of `run`. What cannot be written is tried again in the next. */
  async refresh(): Promise<void> {
    this.#lookAtSilent();
    await this.#writeDirty();
  }

  /** Writing may take its time; noticing may not. */
  async #watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const pauseMs = Math.max(MIN_PAUSE_MS, Math.min(MAX_PAUSE_MS, this.#lookAtSilent()));
      await this.#ports.clock.sleep(pauseMs, { signal }).catch(() => undefined);
    }
  }

  async #write(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#writeDirty();
      await this.#ports.clock.sleep(WRITE_INTERVAL_MS, { signal }).catch(() => undefined);
    }
  }

  /** A node has given a sign: it is the last whose grace ends. */
  #heard(name: string, presence: Presence): void {
    this.#aging.delete(name);
    this.#aging.set(name, presence);
  }

  /** Look at those whose grace is over. @returns milliseconds until the next one's is. */
  #lookAtSilent(): number {
    const now = this.#ports.clock.monotonicMs();
    for (const [name, { lastHeartbeatMs }] of this.#aging) {
      const leftMs = lastHeartbeatMs + this.#graceMs - now;
      if (leftMs >= 0) return leftMs + 1;
      if (this.#look(name)?.liveness === "Unknown") this.#aging.delete(name);
    }
    return Infinity;
  }

  async #writeDirty(): Promise<void> {
    const dirty = [...this.#dirty];
    for (let at = 0; at < dirty.length; at += MAX_WRITES) {
      const batch = dirty.slice(at, at + MAX_WRITES);
      await Promise.all(batch.map(async (name) => this.#persist(name)));
    }
  }

  async #know(record: NodeRecord): Promise<KnownNode> {
    const presence = this.#look(record.name);
    if (presence === undefined && this.#owners.isShared) return this.#knowOfOther(record);
    const state = presence === undefined ? (await this.#states.read(record.name))?.record : stateOf(presence);
    const isConnected = this.links.current(record.name) !== undefined;
    const clockSkewSeconds = isConnected ? presence?.clockSkewSeconds : undefined;
    return { record, state, liveness: presence?.liveness ?? "Unknown", isConnected, clockSkewSeconds };
  }

  /** What the owner wrote counts while it is there. */
  async #knowOfOther(record: NodeRecord): Promise<KnownNode> {
    const state = (await this.#owners.read(record.name))?.record;
    const isConnected = this.#owners.otherOf(state) !== undefined;
    const left = state?.liveness === "NotReady" ? "NotReady" : "Unknown";
    const liveness = isConnected ? (state?.liveness ?? left) : left;
    return { record, state, liveness, isConnected, clockSkewSeconds: undefined };
  }

  #presenceOf(link: NodeLink, report: NodeReport): Presence {
    const { clock } = this.#ports;
    const { version, status, survives, clockSkewSeconds } = report;
    const before = this.#present.get(link.nodeName);
    return {
      version,
      status,
      clockSkewSeconds,
      address: addressOf(status, link.remoteAddress.host),
      lastHeartbeatMs: clock.monotonicMs(),
      lastHeartbeatAt: clock.now(),
      isStopped: false,
      liveness: before?.liveness ?? "Unknown",
      since: before?.since ?? new Date(clock.now()).toISOString(),
      survives,
    };
  }

  #drop(name: string): void {
    this.#present.delete(name);
    this.#aging.delete(name);
    this.#dirty.delete(name);
    this.#instances.forget(name);
  }

  /** Bring a node's liveness up to now. */
  #look(name: string): Presence | undefined {
    const presence = this.#present.get(name);
    if (presence === undefined) return undefined;
    const { clock, logger, onReady } = this.#ports;
    const now = { monotonicMs: clock.monotonicMs(), graceMs: this.#graceMs };
    const liveness = livenessOf({ ...presence, isHealthy: isHealthy(presence.status) }, now);
    if (liveness === presence.liveness) return presence;
    logger.info("Node changed", { nodeName: name, from: presence.liveness, to: liveness });
    presence.liveness = liveness;
    presence.since = new Date(clock.now()).toISOString();
    this.#dirty.add(name);
    if (liveness === "Ready") onReady?.(name);
    return presence;
  }

  async #persist(name: string): Promise<void> {
    const { barrier, logger } = this.#ports;
    this.#dirty.delete(name);
    const presence = this.#present.get(name);
    if (presence === undefined) return;
    try {
      if (this.#owners.isShared) {
        await this.#owners.update(name, stateOf(presence));
        return;
      }
      const record = await this.#records.read(name);
      // A node that was forgotten in the meantime must not leave a state behind.
      if (record === undefined) return;
      await barrier.transaction(
        [this.#records.unchanged(name, record)],
        [this.#states.put(name, stateOf(presence))],
      );
    } catch (reason) {
      this.#dirty.add(name);
      const { code, message } = RksError.from(reason);
      logger.warn("Node state could not be written", { nodeName: name, code, reason: message });
    }
  }

  async #forget(name: string): Promise<void> {
    await untilCommitted(nodeIsChanging(name), async () => {
      const stored = await this.#records.read(name);
      if (stored === undefined) throw unknownNode(name);
      const revocations = await this.#ports.revocations.writes(serialNumbersOf(stored.record), {
        reason: "cessationOfOperation",
        now: this.#ports.clock.now(),
      });
      const { succeeded } = await this.#ports.barrier.transaction(
        [this.#records.unchanged(name, stored)],
        [this.#records.delete(name), this.#states.delete(name), this.#answers.delete(name), ...revocations],
      );
      return succeeded ? true : undefined;
    });
    this.#drop(name);
    this.links.close(name, "NODE_EVICTED", `node "${name}" was evicted`);
    this.#ports.onForgotten?.(name);
  }
}

function stateOf(presence: Presence): NodeState {
  const { version, address, status, liveness, since } = presence;
  return {
    version,
    address,
    status,
    liveness,
    since,
    lastHeartbeat: new Date(presence.lastHeartbeatAt).toISOString(),
    survives: presence.survives,
  };
}

function isHealthy(status: NodeStatus): boolean {
  const ready = status.conditions.find(({ type }) => type === "Ready");
  return ready === undefined || ready.status === "True";
}

function unknownNode(name: string): RksError {
  return new RksError("NOT_FOUND", `there is no node "${name.slice(0, 80)}"`, {
    suggestion: "List the nodes with `rks node list`.",
  });
}
