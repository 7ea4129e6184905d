import {
  Bell,
  RksError,
  type Clock,
  type Container,
  type ContainerState,
  type ContainerStatus,
  type Logger,
  type PodSpec,
} from "@rk8s/protocol";
import type { ContainerRecord, PodRuntime } from "../runtime/pod-runtime.js";
import { containerStateOf } from "./pod-phase.js";
import { restartDelayMs, restartsAfterRun, shouldRestart } from "./restart-policy.js";

export interface SupervisorPorts {
  readonly runtime: PodRuntime;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
}

export interface ContainerSupervisorInit {
  readonly container: Container;
  readonly sandboxId: string;
  readonly restartPolicy: PodSpec["restartPolicy"];
  /** Attempts of this container that are in the sandbox already, in any order. */
  readonly found: readonly ContainerRecord[];
  readonly onChange: () => void;
}

/**
 * Keeps one container of a pod as the restart policy wants it: starts it, waits for its end, starts it again after
 * the crash back-off. Each start is a new attempt with a container of its own in the runtime; the one before is kept
 * for its exit and its logs, older ones are removed.
 */
export class ContainerSupervisor {
  readonly name: string;
  readonly #init: ContainerSupervisorInit;
  readonly #ports: SupervisorPorts;
  #state: ContainerState = { waiting: { reason: "ContainerCreating" } };
  #lastState: ContainerState | undefined;
  #attempt = 0;
  #restartsInARow = 0;
  #containerId: string | undefined;
  #isOver = false;
  /** For those who wait for the next attempt. */
  readonly #bell = new Bell();

  constructor(init: ContainerSupervisorInit, ports: SupervisorPorts) {
    this.name = init.container.name;
    this.#init = init;
    this.#ports = ports;
    const [latest, previous] = init.found.toSorted((a, b) => b.attempt - a.attempt);
    if (latest === undefined) return;
    this.#attempt = latest.attempt;
    this.#restartsInARow = latest.attempt;
    this.#containerId = latest.id;
    this.#state = containerStateOf(latest) ?? this.#state;
    this.#lastState = previous && containerStateOf(previous);
  }

  get status(): ContainerStatus {
    return {
      name: this.name,
      ready: this.#state.running !== undefined,
      restartCount: this.#attempt,
      state: this.#state,
      ...(this.#lastState === undefined ? {} : { lastState: this.#lastState }),
    };
  }

  /** The runtime's container of the newest attempt; undefined before the first. */
  get containerId(): string | undefined {
    return this.#containerId;
  }

  /**
   * The runtime's container of the next attempt after `containerId`; undefined when there will be none.
   * @throws the signal's reason.
   */
  async nextAttempt(
    containerId: string | undefined,
    options: { readonly signal: AbortSignal },
  ): Promise<string | undefined> {
    const { signal } = options;
    while (this.#containerId === containerId && !this.#isOver) {
      signal.throwIfAborted();
      await this.#bell.wait(signal);
    }
    return this.#containerId === containerId ? undefined : this.#containerId;
  }

  /**
   * Go on until the container has ended for good or the signal is aborted. What runs then goes on running. Never
   * rejects: what the runtime refuses is shown in the status and tried again.
   */
  async run(options: { readonly signal: AbortSignal }): Promise<void> {
    const { signal } = options;
    let isNew = this.#containerId === undefined;
    try {
      while (!signal.aborted) {
        const exitCode = await this.#runAttempt(isNew, signal);
        if (exitCode !== undefined && !shouldRestart(this.#init.restartPolicy, exitCode)) return;
        await this.#backOff(signal);
        if (exitCode !== undefined) this.#attempt++;
        isNew = true;
      }
    } catch (reason) {
      if (!signal.aborted) throw reason;
    } finally {
      this.#isOver = true;
      this.#bell.ring();
    }
  }

  /** The exit code of one attempt; undefined when there could be none. @throws the signal's reason. */
  async #runAttempt(isNew: boolean, signal: AbortSignal): Promise<number | undefined> {
    const { runtime, logger } = this.#ports;
    try {
      let record = isNew ? await this.#start(signal) : await this.#record();
      if (record.state === "created") record = await this.#start(signal);
      if (record.state === "running") {
        this.#show(containerStateOf(record)!);
        record = await runtime.waitContainer(record.id, { signal });
      }
      const ranMs = (record.finishedAtMs ?? 0) - (record.startedAtMs ?? 0);
      this.#restartsInARow = restartsAfterRun(this.#restartsInARow, ranMs);
      this.#show(containerStateOf(record)!);
      return record.exitCode ?? 0;
    } catch (reason) {
      signal.throwIfAborted();
      const { code, message } = RksError.from(reason);
      logger.warn("Container not started", { container: this.name, code, reason: message });
      this.#show({ waiting: { reason: "CreateContainerError", message: message.slice(0, 1024) } });
      return undefined;
    }
  }

  /** Start the current attempt; a start that fails leaves an exited container, which is as good. */
  async #start(signal: AbortSignal): Promise<ContainerRecord> {
    const { runtime } = this.#ports;
    const { container, sandboxId } = this.#init;
    await this.#removeOlder();
    signal.throwIfAborted();
    const id = await runtime.createContainer(sandboxId, {
      name: container.name,
      attempt: this.#attempt,
      image: container.image,
      command: container.command ?? [],
      args: container.args ?? [],
      workingDir: container.workingDir,
      env: container.env ?? [],
    });
    const failure = await runtime.startContainer(id).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    this.#containerId = id;
    this.#bell.ring();
    const record = await this.#record();
    if (record.state === "created") throw failure;
    return record;
  }

  async #record(): Promise<ContainerRecord> {
    const records = await this.#ports.runtime.listContainers(this.#init.sandboxId);
    const record = records.find(({ id }) => id === this.#containerId);
    if (record === undefined) throw new RksError("RUNTIME_FAILED", `container "${this.name}" has vanished`);
    return record;
  }

  async #removeOlder(): Promise<void> {
    const { runtime } = this.#ports;
    for (const { id, name, attempt } of await runtime.listContainers(this.#init.sandboxId)) {
      if (name === this.name && attempt < this.#attempt - 1) await runtime.removeContainer(id);
    }
  }

  /** Wait until the next attempt is due, counted from the end of the last one. @throws the signal's reason. */
  async #backOff(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#ports;
    const delayMs = restartDelayMs(this.#restartsInARow++, random);
    const end = this.#state.terminated;
    if (end !== undefined) this.#lastState = { terminated: end };
    const sinceEndMs =
      end?.finishedAt === undefined ? 0 : Math.max(0, clock.now() - Date.parse(end.finishedAt));
    const leftMs = delayMs - sinceEndMs;
    if (leftMs <= 0) return;
    if (end !== undefined) {
      const message = `back-off ${Math.round(delayMs / 1000)}s restarting container "${this.name}"`;
      this.#show({ waiting: { reason: "CrashLoopBackOff", message } });
    }
    await clock.sleep(leftMs, { signal });
  }

  #show(state: ContainerState): void {
    this.#state = state;
    this.#init.onChange();
  }
}
