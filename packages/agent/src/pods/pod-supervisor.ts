import { RksError, type Pod, type PodStatus } from "@rk8s/protocol";
import type { ContainerRecord } from "../runtime/pod-runtime.js";
import { ContainerSupervisor, type SupervisorPorts } from "./container-supervisor.js";
import type { PodLogOptions, PodReport } from "./pod-host.js";
import { podPhase, rfc3339 } from "./pod-phase.js";

export interface PodSupervisorInit {
  readonly pod: Pod;
  readonly sandboxId: string;
  readonly startedAtMs: number;
  /** Containers that are in the sandbox already. */
  readonly found: readonly ContainerRecord[];
  /** Resolves, never rejects, when the containers may start. */
  readonly after: Promise<void>;
  readonly onChange: (report: PodReport) => void;
}

/** Runs one pod in its sandbox from when it is made, until it is detached or terminated. */
export class PodSupervisor {
  readonly pod: Pod;
  readonly #init: PodSupervisorInit;
  readonly #ports: SupervisorPorts;
  readonly #containers: readonly ContainerSupervisor[];
  readonly #life = new AbortController();
  readonly #done: Promise<void>;
  #reported = "";
  #termination: Promise<void> | undefined;

  constructor(init: PodSupervisorInit, ports: SupervisorPorts) {
    this.pod = init.pod;
    this.#init = init;
    this.#ports = ports;
    const { containers, restartPolicy } = init.pod.spec;
    const onChange = (): void => this.#report();
    this.#containers = containers.map((container) => {
      const found = init.found.filter(({ name }) => name === container.name);
      return new ContainerSupervisor(
        { container, sandboxId: init.sandboxId, restartPolicy, found, onChange },
        ports,
      );
    });
    this.#done = this.#run();
  }

  get report(): PodReport {
    const { namespace, name, uid } = this.pod.metadata;
    const containerStatuses = this.#containers.map(({ status }) => status);
    const status: PodStatus = {
      phase: podPhase(containerStatuses, this.pod.spec.restartPolicy),
      startTime: rfc3339(this.#init.startedAtMs),
      containerStatuses,
    };
    return { namespace, name, uid, status };
  }

  /** Leave the pod alone and running. */
  async detach(): Promise<void> {
    this.#life.abort();
    await this.#done;
  }

  /**
   * Stop the containers within their grace and remove the sandbox. A second call with less grace shortens it.
   * @throws {RksError} RUNTIME_FAILED; call again then.
   */
  async terminate(graceSeconds = this.pod.spec.terminationGracePeriodSeconds): Promise<void> {
    if (this.#termination !== undefined) {
      await Promise.all([this.#stopContainers(graceSeconds), this.#termination]);
      return;
    }
    this.#termination = this.#terminate(graceSeconds);
    try {
      await this.#termination;
    } finally {
      this.#termination = undefined;
    }
  }

  /** One container's log. @throws {RksError} NOT_FOUND for a container that is not there or has not begun. */
  readLogs(options: PodLogOptions): {
    readonly container: string;
    readonly chunks: AsyncIterable<Uint8Array>;
  } {
    const container = this.#containerNamed(options.container);
    if (container.containerId === undefined && !options.follow) {
      throw new RksError(
        "NOT_FOUND",
        `container "${container.name}" of pod "${this.pod.metadata.name}" has not begun`,
        {
          suggestion: "Try again when the pod runs.",
        },
      );
    }
    return { container: container.name, chunks: this.#logs(container, options) };
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { signal } = this.#life;
    const detached = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await Promise.race([this.#init.after, detached]);
    try {
      await Promise.all(this.#containers.map(async (container) => container.run({ signal })));
    } catch (cause) {
      this.#ports.logger.error("Pod no longer supervised", { pod: this.pod.metadata.name, cause });
    }
  }

  async #terminate(graceSeconds: number): Promise<void> {
    const { runtime } = this.#ports;
    await this.detach();
    await this.#stopContainers(graceSeconds);
    await runtime.stopSandbox(this.#init.sandboxId);
    await runtime.removeSandbox(this.#init.sandboxId);
  }

  async #stopContainers(graceSeconds: number): Promise<void> {
    const { runtime } = this.#ports;
    const containers = await runtime.listContainers(this.#init.sandboxId);
    await Promise.all(containers.map(async ({ id }) => runtime.stopContainer(id, graceSeconds)));
  }

  #containerNamed(name: string | undefined): ContainerSupervisor {
    const found =
      name === undefined ? this.#containers[0] : this.#containers.find((each) => each.name === name);
    if (found !== undefined) return found;
    const names = this.#containers.map((each) => each.name).join(", ");
    throw new RksError("NOT_FOUND", `pod "${this.pod.metadata.name}" has no container "${name}"`, {
      suggestion: `Choose one of: ${names}.`,
    });
  }

  /** A follower goes on with the next attempt until the container has ended for good. */
  async *#logs(
    container: ContainerSupervisor,
    options: PodLogOptions,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { follow, signal } = options;
    let { tailLines } = options;
    let id = container.containerId ?? (await container.nextAttempt(undefined, { signal }));
    while (id !== undefined) {
      yield* this.#ports.runtime.readLogs(id, { follow, tailLines, signal });
      if (!follow) return;
      tailLines = undefined;
      id = await container.nextAttempt(id, { signal });
    }
  }

  #report(): void {
    const { report } = this;
    const told = JSON.stringify(report.status);
    if (told === this.#reported) return;
    this.#reported = told;
    this.#init.onChange(report);
  }
}
