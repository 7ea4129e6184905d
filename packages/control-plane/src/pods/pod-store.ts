import { isDeepStrictEqual } from "node:util";
import { type Clock, ListPage, type Pod, type PodManifest, type PodStatus, RksError } from "@rk8s/protocol";
import { type RecordCollection, revisionOf, type Storage, type Stored } from "@rk8s/storage";
import { PodIndex } from "./pod-index.js";
import { manifestOf, type PodKey, type PodRecord, podRecordName, podRecords } from "./pod-record.js";

/** Times that a change is tried again when the pod changes at the same moment. */
const MAX_ATTEMPTS = 16;

export interface PodStorePorts {
  readonly barrier: Storage;
  readonly clock: Clock;
  readonly newUid: () => string;
}

/** Keeps pods. Every change is one transaction on the pod as it was read. */
export class PodStore {
  readonly #ports: PodStorePorts;
  readonly #records: RecordCollection<PodRecord>;
  #index: Promise<PodIndex> | undefined;

  constructor(ports: PodStorePorts) {
    this.#ports = ports;
    this.#records = podRecords(ports.barrier);
  }

  async read(key: PodKey): Promise<PodRecord | undefined> {
    return (await this.#records.read(podRecordName(key)))?.record;
  }

  /** @throws {RksError} NOT_FOUND. */
  async get(key: PodKey): Promise<Pod> {
    const record = await this.read(key);
    if (record === undefined) throw unknownPod(key);
    return record.pod;
  }

  /** The pods of a node; those that are placed nowhere without one. */
  async *of(nodeName: string | undefined): AsyncGenerator<PodRecord, void, void> {
    for (const name of (await this.#indexed()).namesOf(nodeName)) {
      const stored = await this.#records.read(name);
      if (stored !== undefined && stored.record.pod.spec.nodeName === nodeName) yield stored.record;
    }
  }

  /** How many pods a node has that are not over. */
  async count(nodeName: string): Promise<number> {
    return (await this.#indexed()).count(nodeName);
  }

  /** Every node that pods are placed on, whether it exists or not. */
  async nodeNames(): Promise<readonly string[]> {
    return (await this.#indexed()).nodeNames();
  }

  /**
   * As many pods as fit into one message, of one namespace or of all, after the one where the last page ended.
   */
  async page(
    namespace: string | undefined,
    after: string | undefined,
  ): Promise<{ readonly pods: Pod[]; readonly next: string | undefined }> {
    const page = new ListPage<Pod>();
    let last: string | undefined;
    for await (const { name, record } of this.#records.list(
      namespace === undefined ? "" : `${namespace}/`,
      after,
    )) {
      if (!page.add(record.pod)) return { pods: page.items, next: last };
      last = name;
    }
    return { pods: page.items, next: undefined };
  }

  /**
   * Keep a new pod, not placed yet. The same manifest again gives the pod that is there.
   * @throws {RksError} ALREADY_EXISTS when there is another one of that name, CONFLICT while that one is being
   * deleted.
   */
  async create(manifest: PodManifest): Promise<PodRecord> {
    const { namespace, name } = manifest.metadata;
    const recordName = podRecordName({ namespace, name });
    const { nodeName, ...spec } = manifest.spec;
    const record: PodRecord = {
      requestedNodeName: nodeName ?? null,
      deletionGraceSeconds: null,
      pod: {
        apiVersion: manifest.apiVersion,
        kind: manifest.kind,
        metadata: {
          ...manifest.metadata,
          uid: this.#ports.newUid(),
          creationTimestamp: new Date(this.#ports.clock.now()).toISOString(),
        },
        spec,
        status: { phase: "Pending", containerStatuses: [] },
      },
    };
    const index = await this.#indexed();
    const stored = await this.#records.read(recordName);
    if (stored !== undefined) return assertSame(stored.record, record);
    const { succeeded, revision } = await this.#ports.barrier.transaction(
      [this.#records.unchanged(recordName, undefined)],
      [this.#records.put(recordName, record)],
    );
    if (succeeded) {
      index.set(recordName, record, revision);
      return record;
    }
    const other = await this.read({ namespace, name });
    if (other === undefined) throw changing({ namespace, name });
    return assertSame(other, record);
  }

  /**
   * Change a pod as it is now: `change` gives what it becomes, `null` to delete it, undefined to leave it.
   * Returns what there is then.
   * @throws {RksError} CONFLICT when it changes at the same moment again and again; whatever `change` throws.
   */
  async update(
    key: PodKey,
    change: (record: PodRecord) => PodRecord | null | undefined,
  ): Promise<PodRecord | undefined> {
    const name = podRecordName(key);
    const index = await this.#indexed();
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const stored: Stored<PodRecord> | undefined = await this.#records.read(name);
      if (stored === undefined) return undefined;
      const changed = change(stored.record);
      if (changed === undefined || isDeepStrictEqual(changed, stored.record)) return stored.record;
      const { succeeded, revision } = await this.#ports.barrier.transaction(
        [this.#records.unchanged(name, stored)],
        [changed === null ? this.#records.delete(name) : this.#records.put(name, changed)],
      );
      if (!succeeded) continue;
      index.set(name, changed ?? undefined, revision);
      return changed ?? undefined;
    }
    throw changing(key);
  }

  /** Another control plane has changed a pod; gives the nodes that it was and is on. */
  async heard(name: string): Promise<readonly string[]> {
    const index = await this.#indexed();
    const before = index.nodeOf(name);
    const revision = await revisionOf(this.#ports.barrier);
    const stored = await this.#records.read(name);
    index.set(name, stored?.record, stored?.modRevision ?? revision);
    return [before, stored?.record.pod.spec.nodeName].filter((nodeName) => nodeName !== undefined);
  }

  /** Anything may have changed. */
  forget(): void {
    this.#index = undefined;
  }

  /** Read once; kept up with every change from then on, those of other control planes included. */
  #indexed(): Promise<PodIndex> {
    this.#index ??= this.#readIndex();
    this.#index.catch(() => {
      this.#index = undefined;
    });
    return this.#index;
  }

  async #readIndex(): Promise<PodIndex> {
    const index = new PodIndex();
    for await (const { name, record, modRevision } of this.#records.list())
      index.set(name, record, modRevision);
    return index;
  }
}

/** The record with another status. */
export function withStatus(record: PodRecord, status: PodStatus): PodRecord {
  return { ...record, pod: { ...record.pod, status } };
}

/** What there is no pod for. */
export function unknownPod({ namespace, name }: PodKey): RksError {
  return new RksError("NOT_FOUND", `there is no pod "${name}" in namespace "${namespace}"`, {
    suggestion: "List the pods with `rkl get pods`.",
  });
}

function assertSame(existing: PodRecord, wanted: PodRecord): PodRecord {
  const { name, namespace, deletionTimestamp } = existing.pod.metadata;
  if (deletionTimestamp !== undefined) {
    throw new RksError("CONFLICT", `pod "${name}" in namespace "${namespace}" is being deleted`, {
      suggestion: "Try again when it is gone.",
    });
  }
  if (isDeepStrictEqual(manifestOf(existing), manifestOf(wanted))) return existing;
  throw new RksError(
    "ALREADY_EXISTS",
    `pod "${name}" in namespace "${namespace}" exists with another manifest`,
    {
      suggestion: `Delete it first: \`rkl delete pod ${name}\`.`,
    },
  );
}

function changing({ namespace, name }: PodKey): RksError {
  return new RksError("CONFLICT", `pod "${name}" in namespace "${namespace}" is changing at this moment`, {
    suggestion: "Try again.",
  });
}
