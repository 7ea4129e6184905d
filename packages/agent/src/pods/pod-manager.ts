import { LIMITS, pod as podSchema, RksError, type Pod } from "@rk8s/protocol";
import type { ContainerRecord, Sandbox } from "../runtime/pod-runtime.js";
import type { SupervisorPorts } from "./container-supervisor.js";
import type { PodHost, PodKey, PodLogOptions, PodReport } from "./pod-host.js";
import { PodSupervisor } from "./pod-supervisor.js";
import { StatusChanges } from "./status-changes.js";

/** A pod that cannot be stopped is tried again after this. */
const RETRY_MS = 10_000;

/** Pods on this host, kept as the control plane wants them. Disposing leaves them running. */
export interface PodManager extends PodHost, AsyncDisposable {
  /** One pod as it was applied. */
  find(key: PodKey): Pod | undefined;
}

/**
 * Take over the pods that the runtime has from before, and keep them and those that come. Of two pods with the same
 * name the newer one is kept; what cannot be understood is stopped and removed. The runtime stays the caller's.
 * @throws {RksError} RUNTIME_FAILED when the runtime cannot be read.
 */
export async function createPodManager(ports: SupervisorPorts): Promise<PodManager> {
  const manager = new SupervisedPods(ports, (await ports.runtime.info()).features.has("images"));
  const [sandboxes, containers] = await Promise.all([
    ports.runtime.listSandboxes(),
    ports.runtime.listContainers(),
  ]);
  manager.adopt(sandboxes, containers);
  return manager;
}

class SupervisedPods implements PodManager {
  readonly #ports: SupervisorPorts;
  readonly #runsImages: boolean;
  readonly #pods = new Map<string, PodSupervisor>();
  /** Pods on their way out that another one has replaced, by uid. */
  readonly #retiring = new Map<string, { readonly pod: PodSupervisor; readonly gone: Promise<void> }>();
  /** The last change of what is under a name; one at a time. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #changes = new StatusChanges();
  readonly #life = new AbortController();

  constructor(ports: SupervisorPorts, runsImages: boolean) {
    this.#ports = ports;
    this.#runsImages = runsImages;
  }

  adopt(sandboxes: readonly Sandbox[], containers: readonly ContainerRecord[]): void {
    for (const sandbox of sandboxes.toSorted((a, b) => a.createdAtMs - b.createdAtMs)) {
      const pod = parseManifest(sandbox.manifest);
      if (pod === undefined || sandbox.state === "stopped") {
        this.#ports.logger.warn("Sandbox removed", {
          namespace: sandbox.namespace,
          pod: sandbox.name,
          uid: sandbox.uid,
        });
        void this.#discard(sandbox.id);
        continue;
      }
      const older = this.#pods.get(keyOf(pod.metadata));
      const found = containers.filter(({ sandboxId }) => sandboxId === sandbox.id);
      this.#supervise(pod, sandbox.id, { found, startedAtMs: sandbox.createdAtMs, replaced: older });
    }
  }

  find(key: PodKey): Pod | undefined {
    return this.#pods.get(keyOf(key))?.pod;
  }

  async apply(pod: Pod): Promise<void> {
    await this.#inTurn(pod.metadata, async () => {
      const older = this.#pods.get(keyOf(pod.metadata));
      if (older?.pod.metadata.uid === pod.metadata.uid) return;
      this.#assertRunnable(pod);
      if (older === undefined && this.#pods.size >= LIMITS.maxPodsPerNode) {
        throw new RksError("BUSY", `this node runs ${LIMITS.maxPodsPerNode} pods already`, {
          suggestion: "Give the pod another node.",
        });
      }
      const { namespace, name, uid } = pod.metadata;
      const manifest = JSON.stringify(pod);
      const sandboxId = await this.#ports.runtime.runSandbox({ namespace, name, uid, attempt: 0, manifest });
      this.#supervise(pod, sandboxId, { found: [], startedAtMs: this.#ports.clock.now(), replaced: older });
    });
  }

  async remove(
    key: PodKey,
    options: { readonly uid: string | undefined; readonly graceSeconds: number | undefined },
  ): Promise<void> {
    const { uid, graceSeconds } = options;
    const pod = await this.#inTurn(key, () => Promise.resolve(this.#pods.get(keyOf(key))));
    const retiring = uid === undefined ? undefined : this.#retiring.get(uid);
    if (retiring !== undefined) {
      await Promise.all([retiring.pod.terminate(graceSeconds), retiring.gone]);
    } else if (pod !== undefined && (uid === undefined || uid === pod.pod.metadata.uid)) {
      await pod.terminate(graceSeconds);
      this.#forget(pod);
    }
  }

  list(): Promise<readonly PodReport[]> {
    return Promise.resolve([...this.#pods.values()].map(({ report }) => report));
  }

  // oxlint-disable-next-line typescript/require-await -- what is not found becomes a rejection
  async readLogs(
    key: PodKey,
    options: PodLogOptions,
  ): Promise<{ readonly container: string; readonly chunks: AsyncIterable<Uint8Array> }> {
    const pod = this.#pods.get(keyOf(key));
    if (pod === undefined) {
      throw new RksError(
        "NOT_FOUND",
        `pod "${key.name}" of namespace "${key.namespace}" is not on this node`,
      );
    }
    return pod.readLogs(options);
  }

  statusChanges(options: { readonly signal: AbortSignal }): AsyncIterable<PodReport> {
    return this.#changes.read(options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort();
    await Promise.all([...this.#pods.values()].map(async (pod) => pod.detach()));
  }

  #supervise(
    pod: Pod,
    sandboxId: string,
    how: { found: readonly ContainerRecord[]; startedAtMs: number; replaced: PodSupervisor | undefined },
  ): void {
    const { found, startedAtMs, replaced } = how;
    const after = replaced === undefined ? Promise.resolve() : this.#retire(replaced);
    const onChange = (report: PodReport): void => {
      if (this.#pods.get(keyOf(report))?.pod.metadata.uid === report.uid) this.#changes.push(report);
    };
    const supervisor = new PodSupervisor(
      { pod, sandboxId, startedAtMs, found, after, onChange },
      this.#ports,
    );
    this.#pods.set(keyOf(pod.metadata), supervisor);
  }

  /** Terminate a replaced pod, however often it takes. Resolves, never rejects, when it is gone. */
  async #retire(pod: PodSupervisor): Promise<void> {
    const { uid } = pod.pod.metadata;
    this.#changes.forget(uid);
    const gone = this.#untilDone("Pod not stopped", uid, async () => pod.terminate());
    this.#retiring.set(uid, { pod, gone });
    await gone;
    this.#retiring.delete(uid);
  }

  async #discard(sandboxId: string): Promise<void> {
    await this.#untilDone("Sandbox not removed", sandboxId, async () => {
      await this.#ports.runtime.stopSandbox(sandboxId);
      await this.#ports.runtime.removeSandbox(sandboxId);
    });
  }

  async #untilDone(failure: string, what: string, work: () => Promise<void>): Promise<void> {
    const { clock, logger, random } = this.#ports;
    const { signal } = this.#life;
    while (!signal.aborted) {
      try {
        await work();
        return;
      } catch (reason) {
        logger.error(failure, { what, reason: RksError.from(reason).message });
        await clock.sleep(RETRY_MS * (1 + random()), { signal }).catch(() => undefined);
      }
    }
  }

  #forget(pod: PodSupervisor): void {
    const key = keyOf(pod.pod.metadata);
    if (this.#pods.get(key) === pod) this.#pods.delete(key);
    this.#changes.forget(pod.pod.metadata.uid);
  }

  /** @throws {RksError} POD_INVALID for what this node's runtime cannot run. */
  #assertRunnable(pod: Pod): void {
    if (this.#runsImages) return;
    const { namespace, name } = pod.metadata;
    for (const { name: container, image, command = [] } of pod.spec.containers) {
      if (command.length === 0) {
        throw new RksError("POD_INVALID", `container "${container}" of pod "${name}" has no command`, {
          suggestion: "Give the container a command: this node's runtime runs no images.",
        });
      }
      if (image !== undefined)
        this.#ports.logger.info("Image ignored", { namespace, pod: name, container, image });
    }
  }

  async #inTurn<T>(key: PodKey, work: () => Promise<T>): Promise<T> {
    const name = keyOf(key);
    const turn = (this.#turns.get(name) ?? Promise.resolve()).then(work, work);
    this.#turns.set(name, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(name) === turn) this.#turns.delete(name);
    }
  }
}

function keyOf({ namespace, name }: PodKey): string {
  return `${namespace}/${name}`;
}

function parseManifest(manifest: string): Pod | undefined {
  try {
    return podSchema.parse(JSON.parse(manifest));
  } catch {
    return undefined;
  }
}
