import {
  type Clock,
  LIMITS,
  type Logger,
  type Message,
  type Pod,
  type PodManifest,
  RksError,
} from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { KeyedQueue } from "../nodes/keyed-queue.js";
import type { NodeLink } from "../nodes/node-link.js";
import type { NodeRegistry } from "../nodes/node-registry.js";
import { connectedElsewhere } from "../nodes/node-owners.js";
import { type Changes, NO_CHANGES } from "../vault/members/changes.js";
import { isOver, type PodKey, type PodRecord, PODS_PREFIX } from "./pod-record.js";
import { PodStore, unknownPod, withStatus } from "./pod-store.js";
import { PodSync } from "./pod-sync.js";
import { type Candidate, placePod } from "./scheduling.js";

/** What a node says it takes when it says nothing; Kubernetes' default. */
const DEFAULT_MAX_PODS = 110;

export interface PodControllerPorts {
  readonly barrier: Storage;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodes: NodeRegistry;
  readonly newUid: () => string;
  /** What other control planes write. Default: there are none. */
  readonly changes?: Changes;
}

/** Which pod, and which life of it. */
export interface DeleteOptions {
  /** When given, only a pod with this uid is meant. */
  readonly uid?: string | undefined;
  /** Seconds; default: what the pod says. 0 also forgets the pod of a node that is not connected. */
  readonly gracePeriodSeconds?: number | undefined;
}

/** Places pods, tells nodes about theirs, and takes in what nodes say of them. */
export class PodController {
  readonly #ports: PodControllerPorts;
  readonly #store: PodStore;
  readonly #syncs = new Map<NodeLink, PodSync>();
  /** Placements are made one after the other, so that each counts the ones before. */
  readonly #placing = new KeyedQueue();
  /** A round over everything that is pending waits for its turn already. */
  #isPlacing = false;

  constructor(ports: PodControllerPorts) {
    this.#ports = ports;
    this.#store = new PodStore(ports);
    this.#follow(ports.changes ?? NO_CHANGES);
  }

  /**
   * Keep a pod and place it. The same manifest again changes nothing.
   * @throws {RksError} ALREADY_EXISTS, CONFLICT, MESSAGE_TOO_LARGE, and as the storage does.
   */
  async apply(manifest: PodManifest): Promise<Pod> {
    const bytes = Buffer.byteLength(JSON.stringify(manifest));
    if (bytes > LIMITS.maxPodManifestBytes) {
      throw new RksError(
        "MESSAGE_TOO_LARGE",
        `the manifest of pod "${manifest.metadata.name}" has ${bytes} bytes, at most ${LIMITS.maxPodManifestBytes} are possible`,
        { suggestion: "Move data out of the manifest." },
      );
    }
    const record = await this.#store.create(manifest);
    if (record.pod.spec.nodeName !== undefined) return record.pod;
    await this.#placing.run("", async () => this.#place(record.pod.metadata, await this.#candidates()));
    return this.#store.get(record.pod.metadata);
  }

  /** @throws {RksError} NOT_FOUND. */
  async get(key: PodKey): Promise<Pod> {
    return this.#store.get(key);
  }

  /** One page of the pods of a namespace, or of all. */
  async list(
    namespace?: string,
    after?: string,
  ): Promise<{ readonly pods: Pod[]; readonly next: string | undefined }> {
    return this.#store.page(namespace, after);
  }

  /**
   * Record that the pod is to go, and tell its node. It is gone when the node has said so; at once when it was
   * never placed or its node is forgotten. Twice is the same as once.
   * @throws {RksError} NOT_FOUND, also for another uid.
   */
  async delete(key: PodKey, options: DeleteOptions = {}): Promise<void> {
    const record = await this.#store.read(key);
    if (record === undefined || (options.uid !== undefined && record.pod.metadata.uid !== options.uid)) {
      throw unknownPod(key);
    }
    const { uid } = record.pod.metadata;
    const { nodeName } = record.pod.spec;
    const canEnd = nodeName !== undefined && (await this.#canEnd(nodeName, options));
    const deletionTimestamp = new Date(this.#ports.clock.now()).toISOString();
    await this.#store.update(key, (current) => {
      if (current.pod.metadata.uid !== uid) return undefined;
      if (!canEnd && current.pod.spec.nodeName === nodeName) return null;
      const grace = options.gracePeriodSeconds ?? current.deletionGraceSeconds;
      return {
        ...current,
        deletionGraceSeconds: grace,
        pod: { ...current.pod, metadata: { deletionTimestamp, ...current.pod.metadata } },
      };
    });
    if (nodeName !== undefined) this.#wake(nodeName);
    if (!canEnd) this.placePending();
  }

  /** The node of a pod, when it is connected. @throws {RksError} NOT_FOUND, UNAVAILABLE. */
  async linkOf(key: PodKey): Promise<NodeLink> {
    const { nodeName } = (await this.#store.get(key)).spec;
    const link = nodeName === undefined ? undefined : this.#ports.nodes.links.current(nodeName);
    if (link !== undefined) return link;
    const other = nodeName === undefined ? undefined : await this.#ports.nodes.elsewhere(nodeName);
    if (nodeName !== undefined && other !== undefined) throw connectedElsewhere(nodeName, other);
    const where =
      nodeName === undefined
        ? "is not placed on a node yet"
        : `is on node "${nodeName}", which is not connected`;
    throw new RksError("UNAVAILABLE", `pod "${key.name}" ${where}`, { suggestion: "Try again later." });
  }

  /** A node registered: take in what it has, then make it run what it should. */
  async registered(link: NodeLink, reported: Message<"RegisterNode">["pods"]): Promise<void> {
    const running: string[] = [];
    const unwanted: (PodKey & { readonly uid: string })[] = [];
    for (const { namespace, name, uid, status } of reported) {
      const record = await this.#takeIn(link, { namespace, name, uid, status });
      if (record !== undefined && isOwn(record, link, uid) && !isLost(record)) running.push(uid);
      else unwanted.push({ namespace, name, uid });
    }
    const { clock, logger } = this.#ports;
    const sync = new PodSync(link, running, {
      store: this.#store,
      clock,
      logger,
      onRemoved: () => this.placePending(),
    });
    if (!this.#syncs.has(link)) {
      link.ended.addEventListener("abort", () => this.#syncs.delete(link), { once: true });
    }
    if (!link.ended.aborted) this.#syncs.set(link, sync);
    for (const { uid, ...key } of unwanted) sync.remove(uid, key);
    sync.wake();
    this.placePending();
  }

  /**
   * A node says how a pod is. Nothing happens when the pod is gone, except that the node is told to drop it; nor over a
   * connection that another one has replaced: what counts was said there.
   * @throws {RksError} PERMISSION_DENIED for a pod of another node.
   */
  async reported(link: NodeLink, report: Message<"UpdatePodStatus">): Promise<void> {
    const { namespace, name, uid, status } = report;
    const record = await this.#store.update({ namespace, name }, (current) => {
      if (current.pod.metadata.uid !== uid) return undefined;
      if (current.pod.spec.nodeName !== link.nodeName) throw notYours(report, link);
      if (this.#ports.nodes.links.current(link.nodeName) !== link) return undefined;
      return isLost(current) ? undefined : withStatus(current, status);
    });
    if (record?.pod.metadata.uid !== uid || isLost(record))
      this.#syncs.get(link)?.remove(uid, { namespace, name });
    else if (isOver(record.pod)) this.placePending();
  }

  /**
   * A node was forgotten: what it never started goes elsewhere, what it ran is lost, what was being deleted is
   * gone.
   */
  async nodeForgotten(nodeName: string): Promise<void> {
    for await (const { pod } of this.#store.of(nodeName)) {
      await this.#store.update(pod.metadata, (current) =>
        current.pod.metadata.uid === pod.metadata.uid ? withoutNode(current, nodeName) : undefined,
      );
    }
    this.placePending();
  }

  /** After a start: finish what an interrupted eviction left. */
  async open(): Promise<void> {
    const known = new Set<string>();
    for await (const { record } of this.#ports.nodes.known()) known.add(record.name);
    for (const name of await this.#store.nodeNames()) {
      // It may have joined elsewhere meanwhile.
      if (!known.has(name) && !(await this.#isKnown(name))) await this.nodeForgotten(name);
    }
  }

  /** Try again to place what has no place yet. Never fails. */
  placePending(): void {
    if (this.#isPlacing) return;
    this.#isPlacing = true;
    this.#placing
      .run("", () => this.#placeAll())
      .catch((reason: unknown) => {
        const { code, message } = RksError.from(reason);
        this.#ports.logger.warn("Pods could not be placed", { code, reason: message });
      });
  }

  /**
   * The pod that a node reports, with its status when that can be written; a full disk must not keep nodes
   * away.
   */
  async #takeIn(
    link: NodeLink,
    { namespace, name, uid, status }: Message<"RegisterNode">["pods"][number],
  ): Promise<PodRecord | undefined> {
    try {
      return await this.#store.update({ namespace, name }, (current) =>
        isOwn(current, link, uid) && !isOver(current.pod) ? withStatus(current, status) : undefined,
      );
    } catch (reason) {
      const { code, message } = RksError.from(reason);
      this.#ports.logger.warn("Pod status could not be written", { namespace, name, code, reason: message });
      return this.#store.read({ namespace, name });
    }
  }

  async #placeAll(): Promise<void> {
    this.#isPlacing = false;
    let candidates: Candidate[] | undefined;
    for await (const { pod } of this.#store.of(undefined)) {
      candidates ??= await this.#candidates();
      await this.#place(pod.metadata, candidates);
    }
  }

  /** Place one pod, and count it where it went. */
  async #place(key: PodKey, candidates: Candidate[]): Promise<void> {
    const placed = await this.#store.update(key, (record) => {
      const { pod, requestedNodeName } = record;
      if (pod.spec.nodeName !== undefined || pod.metadata.deletionTimestamp !== undefined) return undefined;
      const placement = placePod(requestedNodeName, candidates);
      if ("pending" in placement) {
        return withStatus(record, { ...pod.status, reason: "Unschedulable", message: placement.pending });
      }
      const { reason: _reason, message: _message, ...status } = pod.status;
      return { ...record, pod: { ...pod, status, spec: { ...pod.spec, nodeName: placement.nodeName } } };
    });
    const at = candidates.findIndex(({ name }) => name === placed?.pod.spec.nodeName);
    const candidate = candidates[at];
    if (candidate !== undefined) candidates[at] = { ...candidate, pods: candidate.pods + 1 };
    if (placed?.pod.spec.nodeName !== undefined) this.#wake(placed.pod.spec.nodeName);
  }

  async #candidates(): Promise<Candidate[]> {
    const candidates: Candidate[] = [];
    for await (const { record, state, liveness } of this.#ports.nodes.known()) {
      const reported = Number(state?.status.capacity["pods"] ?? DEFAULT_MAX_PODS);
      candidates.push({
        name: record.name,
        isReady: liveness === "Ready" && record.banned === undefined && record.cloned === undefined,
        pods: await this.#store.count(record.name),
        maxPods: Math.min(LIMITS.maxPodsPerNode, Number.isFinite(reported) ? reported : DEFAULT_MAX_PODS),
      });
    }
    return candidates;
  }

  /** Whether the node can be asked to end a pod, now or when it comes back. */
  async #canEnd(nodeName: string, options: DeleteOptions): Promise<boolean> {
    if (await this.#ports.nodes.isConnected(nodeName)) return true;
    return options.gracePeriodSeconds !== 0 && this.#isKnown(nodeName);
  }

  async #isKnown(nodeName: string): Promise<boolean> {
    try {
      await this.#ports.nodes.read(nodeName);
      return true;
    } catch (reason) {
      if (RksError.from(reason).code === "NOT_FOUND") return false;
      throw reason;
    }
  }

  /** Tell a node of changes that were made elsewhere, when its connection is here. */
  #follow(changes: Changes): void {
    changes.on(PODS_PREFIX, (key) => {
      this.#heard(key.slice(PODS_PREFIX.length)).catch((reason: unknown) => {
        const { code, message } = RksError.from(reason);
        this.#ports.logger.warn("A pod could not be read again", { code, reason: message });
        this.#lookAgain();
      });
    });
    changes.onGap(() => this.#lookAgain());
  }

  async #heard(name: string): Promise<void> {
    for (const nodeName of await this.#store.heard(name)) this.#wake(nodeName);
  }

  #lookAgain(): void {
    this.#store.forget();
    for (const sync of this.#syncs.values()) sync.wake();
    this.placePending();
  }

  #wake(nodeName: string): void {
    const link = this.#ports.nodes.links.current(nodeName);
    if (link !== undefined) this.#syncs.get(link)?.wake();
  }
}

function isOwn({ pod }: PodRecord, link: NodeLink, uid: string): boolean {
  return pod.metadata.uid === uid && pod.spec.nodeName === link.nodeName;
}

const NODE_LOST = "NodeEvicted";

/** A pod whose node was forgotten stays as it is, whatever that node says when it comes back. */
function isLost({ pod }: PodRecord): boolean {
  return pod.status.phase === "Failed" && pod.status.reason === NODE_LOST;
}

function withoutNode(record: PodRecord, nodeName: string): PodRecord | null | undefined {
  const { pod, requestedNodeName } = record;
  if (pod.metadata.deletionTimestamp !== undefined) return null;
  if (isOver(pod)) return undefined;
  if (pod.status.phase !== "Pending") {
    const message = `node "${nodeName}" was evicted`;
    return withStatus(record, { ...pod.status, phase: "Failed", reason: NODE_LOST, message });
  }
  if (requestedNodeName !== null) return undefined;
  const { nodeName: _nodeName, ...spec } = pod.spec;
  return { ...record, pod: { ...pod, spec } };
}

function notYours({ namespace, name }: PodKey, link: NodeLink): RksError {
  return new RksError(
    "PERMISSION_DENIED",
    `pod "${name}" in namespace "${namespace}" is not on node "${link.nodeName}"`,
    { suggestion: "Report the pods of this node only." },
  );
}
