import { type Clock, LIMITS, type Logger, type Pod, request, RksError } from "@rk8s/protocol";
import type { NodeLink } from "../nodes/node-link.js";
import { isOver, type PodKey, type PodRecord } from "./pod-record.js";
import { type PodStore, withStatus } from "./pod-store.js";

/**
 * Requests to one node at a time. A pod may take an hour to stop, so stopping has places of its own and never holds
 * up what is to be started; both together leave half of the node's streams to readers of logs.
 */
const MAX_CONCURRENT = { create: 8, delete: 24 } as const;
/** More than a node can have; what is left out is found when it registers again. */
const MAX_UNWANTED = 2 * LIMITS.maxPodsPerNode;
/** Pause before a node is asked again that could not do it this time. */
const RETRY_MS = 5_000;
/** As in Kubernetes; what a node does when no grace is named. */
const DEFAULT_GRACE_SECONDS = 30;

interface Work {
  readonly kind: keyof typeof MAX_CONCURRENT;
  readonly key: PodKey;
  readonly uid: string;
  /** Work of the same id is not begun twice. A deletion with another grace is other work. */
  readonly id: string;
  readonly run: () => Promise<void>;
}

export interface PodSyncPorts {
  readonly store: PodStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called when a pod is gone and its place is free. */
  readonly onRemoved: () => void;
}

/**
 * Makes one node run what it should and nothing else, over one connection: sends CreatePod and DeletePod until
 * every pod of the node is acknowledged. `wake` says that something changed; rounds never overlap.
 */
export class PodSync {
  readonly #link: NodeLink;
  readonly #ports: PodSyncPorts;
  /** Uids that the node has, as far as this connection knows. */
  readonly #running: Set<string>;
  /** Pods that the node has and should not. */
  readonly #unwanted = new Map<string, PodKey>();
  readonly #busy = new Map<string, Work["kind"]>();
  #state: "idle" | "working" | "again" = "idle";

  /** @param running uids that the node reported. */
  constructor(link: NodeLink, running: Iterable<string>, ports: PodSyncPorts) {
    this.#link = link;
    this.#running = new Set(running);
    this.#ports = ports;
  }

  /** The node must not run this one. */
  remove(uid: string, key: PodKey): void {
    // A node that reports ever new pods and drops none does not get to fill our memory.
    if (this.#unwanted.size >= MAX_UNWANTED) return;
    this.#unwanted.set(uid, key);
    this.wake();
  }

  /** Something changed; look again. Never fails. */
  wake(): void {
    if (this.#state !== "idle") {
      this.#state = "again";
      return;
    }
    this.#state = "working";
    this.#work().catch((reason: unknown) => {
      this.#state = "idle";
      this.#retryLater(RksError.from(reason));
    });
  }

  async #work(): Promise<void> {
    do {
      this.#state = "working";
      const works = await this.#pending();
      for (const work of works) if (this.#hasPlace(work)) this.#start(work);
    } while (this.#isAgain() && !this.#link.ended.aborted);
    this.#state = "idle";
  }

  /** Behind a call, because the state changes while `#work` waits. */
  #isAgain(): boolean {
    return this.#state === "again";
  }

  /** What is still to be done, the work under way left out. */
  async #pending(): Promise<Work[]> {
    const works: Work[] = [];
    for (const [uid, key] of this.#unwanted)
      works.push({
        kind: "delete",
        key,
        uid,
        id: `${uid} delete`,
        run: () => this.#deleteUnwanted(uid, key),
      });
    for await (const record of this.#ports.store.of(this.#link.nodeName)) {
      const { pod } = record;
      const { uid, deletionTimestamp } = pod.metadata;
      const key = pod.metadata;
      if (deletionTimestamp !== undefined) {
        const id = `${uid} delete ${record.deletionGraceSeconds ?? ""}`;
        works.push({ kind: "delete", key, uid, id, run: () => this.#delete(record) });
      } else if (!isOver(pod) && !this.#running.has(uid))
        works.push({ kind: "create", key, uid, id: uid, run: () => this.#create(pod) });
    }
    // Nothing else is begun with a pod while it is being started.
    return works.filter(({ id, uid }) => !this.#busy.has(id) && !this.#busy.has(uid));
  }

  #hasPlace({ kind }: Work): boolean {
    const count = [...this.#busy.values()].filter((busy) => busy === kind).length;
    return count < MAX_CONCURRENT[kind];
  }

  #start(work: Work): void {
    this.#busy.set(work.id, work.kind);
    this.#finish(work).catch(() => undefined);
  }

  async #finish({ id, key, run }: Work): Promise<void> {
    try {
      await run();
      this.#busy.delete(id);
      this.wake();
    } catch (reason) {
      this.#busy.delete(id);
      const error = RksError.from(reason);
      const fields = { namespace: key.namespace, name: key.name, code: error.code, reason: error.message };
      this.#ports.logger.warn("Pod could not be synchronised", fields);
      this.#retryLater(error);
    }
  }

  async #create(pod: Pod): Promise<void> {
    const { uid } = pod.metadata;
    try {
      await request(this.#link, { type: "CreatePod", pod }, "Ack", this.#options());
    } catch (reason) {
      const error = RksError.from(reason);
      if (error.retryable && error.code !== "RUNTIME_FAILED") throw error;
      await this.#fail(pod, error);
    }
    this.#running.add(uid);
  }

  /** The node cannot run it and will not be able to: that is the pod's end. */
  async #fail(pod: Pod, error: RksError): Promise<void> {
    const reason = error.code;
    const message = error.message.slice(0, 1024);
    await this.#ports.store.update(pod.metadata, (record) =>
      record.pod.metadata.uid === pod.metadata.uid
        ? withStatus(record, { ...record.pod.status, phase: "Failed", reason, message })
        : undefined,
    );
  }

  async #delete({ pod, deletionGraceSeconds }: PodRecord): Promise<void> {
    const { uid, namespace, name } = pod.metadata;
    const graceSeconds = deletionGraceSeconds ?? pod.spec.terminationGracePeriodSeconds;
    await this.#askToDelete({ namespace, name }, uid, graceSeconds);
    this.#running.delete(uid);
    await this.#ports.store.update({ namespace, name }, (record) =>
      record.pod.metadata.uid === uid ? null : undefined,
    );
    this.#ports.onRemoved();
  }

  async #deleteUnwanted(uid: string, key: PodKey): Promise<void> {
    await this.#askToDelete(key, uid, undefined);
    this.#unwanted.delete(uid);
    this.#running.delete(uid);
  }

  async #askToDelete(key: PodKey, uid: string, graceSeconds: number | undefined): Promise<void> {
    const { namespace, name } = key;
    const grace = graceSeconds === undefined ? {} : { gracePeriodSeconds: graceSeconds };
    const timeoutMs = LIMITS.requestTimeoutMs + 1000 * (graceSeconds ?? DEFAULT_GRACE_SECONDS);
    const message = { type: "DeletePod", namespace, name, uid, ...grace } as const;
    await request(this.#link, message, "Ack", { ...this.#options(), timeoutMs });
  }

  #options(): { readonly clock: Clock; readonly signal: AbortSignal } {
    return { clock: this.#ports.clock, signal: this.#link.ended };
  }

  #retryLater({ code }: RksError): void {
    if (this.#link.ended.aborted) return;
    this.#ports.logger.debug("Node is asked again later", { nodeName: this.#link.nodeName, code });
    this.#pause().catch(() => undefined);
  }

  async #pause(): Promise<void> {
    await this.#ports.clock.sleep(RETRY_MS, { signal: this.#link.ended });
    this.wake();
  }
}
