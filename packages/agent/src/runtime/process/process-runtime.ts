import { writeFile } from "node:fs/promises";
import { release } from "node:os";
import { join } from "node:path";
import { RksError, type Clock, type Logger } from "@rk8s/protocol";
import type {
  ContainerConfig,
  ContainerRecord,
  LogOptions,
  PodRuntime,
  RuntimeInfo,
  Sandbox,
  SandboxConfig,
} from "../pod-runtime.js";
import { DEFAULT_PATH, resolveCommandLine } from "./command-line.js";
import { ContainerProcesses, writeExit, type ContainerProcess } from "./container-process.js";
import { ExitWatch } from "./exit-watch.js";
import { readLog } from "./log-reader.js";
import { signalGroup } from "./process-identity.js";
import { writtenAtMs } from "./record-file.js";
import { notFound, SandboxStore } from "./sandbox-store.js";
import { findStarter, startWrapper, writeWrapper, type WrapperInit } from "./wrapper.js";

/** containerd's exit code for a command that cannot be started. */
const START_ERROR_EXIT_CODE = 128;
/** From the start of a wrapper to its `pid` file it takes milliseconds. */
const START_MS = 2000;
const START_LOOK_MS = 50;

export interface ProcessRuntimeOptions {
  /** Made when missing, mode 0700. Everything that runs is found again under the same folder. */
  readonly folder: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** PATH of containers that set none. Default: the usual system folders. */
  readonly path?: string | undefined;
}

/**
 * Open the runtime that runs containers as child processes of this host: no root, no images, no isolation. A pod is a
 * folder, a container a process group of its own with an empty environment to begin with. Containers, their exit
 * codes and their logs outlive this process. What a container puts into a session of its own (a daemon) is out of
 * reach when it stops.
 * @throws {RksError} RUNTIME_FAILED when the folder cannot be written, UNSUPPORTED when the host has neither `setsid`
 * nor `perl`.
 */
export async function openProcessRuntime(options: ProcessRuntimeOptions): Promise<PodRuntime> {
  const starter = await findStarter();
  const store = await SandboxStore.open(options.folder);
  return new ProcessRuntime(store, { starter, wrapper: await writeWrapper(options.folder) }, options);
}

type Tools = Pick<WrapperInit, "starter" | "wrapper">;

class ProcessRuntime implements PodRuntime {
  readonly #store: SandboxStore;
  readonly #tools: Tools;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #path: string;
  readonly #exits: ExitWatch;
  readonly #processes: ContainerProcesses;

  constructor(store: SandboxStore, tools: Tools, options: ProcessRuntimeOptions) {
    this.#store = store;
    this.#tools = tools;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#path = options.path ?? DEFAULT_PATH;
    this.#exits = new ExitWatch(store.exitsFolder, options);
    this.#processes = new ContainerProcesses(options);
  }

  info(): Promise<RuntimeInfo> {
    return Promise.resolve({ name: "process", version: release(), ready: true, features: new Set() });
  }

  async runSandbox(config: SandboxConfig): Promise<string> {
    return this.#store.addSandbox(config, this.#clock.now());
  }

  async stopSandbox(sandboxId: string): Promise<void> {
    if ((await this.#store.sandbox(sandboxId)) === undefined) return;
    await writeFile(join(this.#store.sandboxFolder(sandboxId), "stopped"), "", { mode: 0o600 });
    await this.#killAll(sandboxId);
  }

  async removeSandbox(sandboxId: string): Promise<void> {
    await this.#killAll(sandboxId);
    await this.#store.removeSandbox(sandboxId);
  }

  async listSandboxes(): Promise<readonly Sandbox[]> {
    const sandboxes: Sandbox[] = [];
    for (const id of await this.#store.sandboxIds()) {
      const record = await this.#store.sandbox(id);
      if (record === undefined) continue;
      const stopped = await writtenAtMs(join(this.#store.sandboxFolder(id), "stopped"));
      sandboxes.push({ ...record, id, state: stopped === undefined ? "ready" : "stopped" });
    }
    return sandboxes;
  }

  async createContainer(sandboxId: string, config: ContainerConfig): Promise<string> {
    if ((await this.#store.sandbox(sandboxId)) === undefined) throw notFound("sandbox", sandboxId);
    return this.#store.addContainer(sandboxId, config);
  }

  async startContainer(containerId: string): Promise<void> {
    const { config } = await this.#find(containerId);
    if (!(await this.#store.claimStart(containerId))) return this.#refuseSecondStart(containerId, config);
    const sandbox = await this.#store.sandbox(this.#store.sandboxOf(containerId));
    const folder = this.#store.containerFolder(containerId);
    const exitFile = this.#store.exitFile(containerId);
    try {
      const command = await resolveCommandLine(config, {
        folder: join(folder, "work"),
        hostname: sandbox?.name ?? "localhost",
        path: this.#path,
      });
      await startWrapper({ ...this.#tools, ...command, folder, exitFile });
    } catch (reason) {
      const error = RksError.from(reason);
      this.#logger.warn("Container not started", { containerId, error: error.message });
      await this.#recordStartError(containerId, error.message);
      throw error;
    }
  }

  async stopContainer(containerId: string, graceSeconds: number): Promise<void> {
    const current = await this.#look(containerId);
    if (current.state !== "running") return;
    if (graceSeconds > 0) {
      if (current.identity !== undefined) signalGroup(current.identity, "SIGTERM");
      if (await this.#exitedWithin(containerId, graceSeconds * 1000)) return;
    }
    const left = await this.#look(containerId);
    if (left.state === "running" && left.identity !== undefined) signalGroup(left.identity, "SIGKILL");
    await this.#exitedWithin(containerId, Infinity);
  }

  async removeContainer(containerId: string): Promise<void> {
    await this.stopContainer(containerId, 0);
    await this.#store.removeContainer(containerId);
  }

  async listContainers(sandboxId?: string): Promise<readonly ContainerRecord[]> {
    const records: ContainerRecord[] = [];
    for (const id of sandboxId === undefined ? await this.#store.sandboxIds() : [sandboxId]) {
      for (const containerId of await this.#store.containerIds(id)) {
        const config = await this.#store.container(containerId);
        if (config !== undefined)
          records.push(recordOf(containerId, id, config, await this.#look(containerId)));
      }
    }
    return records;
  }

  async waitContainer(
    containerId: string,
    options: { readonly signal: AbortSignal },
  ): Promise<ContainerRecord> {
    for (;;) {
      const { config, current } = await this.#find(containerId);
      if (current.state === "exited") {
        return recordOf(containerId, this.#store.sandboxOf(containerId), config, current);
      }
      await this.#exits.next(options);
    }
  }

  async *readLogs(containerId: string, options: LogOptions): AsyncGenerator<Uint8Array, void, undefined> {
    await this.#find(containerId);
    yield* readLog(this.#store.containerFolder(containerId), {
      clock: this.#clock,
      signal: options.signal,
      tailLines: options.tailLines,
      isOpen: async () => options.follow && (await this.#mayWrite(containerId)),
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#exits[Symbol.dispose]();
    return Promise.resolve();
  }

  /** An agent that died while it started the container may have left a wrapper that has not begun, or none. */
  async #refuseSecondStart(containerId: string, config: ContainerConfig): Promise<void> {
    const end = this.#clock.monotonicMs() + START_MS;
    while ((await this.#look(containerId)).state === "created" && this.#clock.monotonicMs() < end) {
      await this.#clock.sleep(START_LOOK_MS);
    }
    const message = `container "${config.name}" was started before`;
    await this.#recordStartError(containerId, message);
    throw new RksError("RUNTIME_FAILED", message);
  }

  /** What the wrapper wrote is truer than what was seen from here. */
  async #recordStartError(containerId: string, message: string): Promise<void> {
    if ((await this.#look(containerId)).state !== "created") return;
    const exit = { exitCode: START_ERROR_EXIT_CODE, reason: "StartError", message: message.slice(0, 1000) };
    await writeExit(this.#store.exitFile(containerId), exit);
  }

  async #killAll(sandboxId: string): Promise<void> {
    const ids = await this.#store.containerIds(sandboxId);
    await Promise.all(ids.map(async (id) => this.stopContainer(id, 0)));
  }

  async #exitedWithin(containerId: string, limitMs: number): Promise<boolean> {
    const end = this.#clock.monotonicMs() + limitMs;
    const { signal } = new AbortController();
    for (;;) {
      if ((await this.#look(containerId)).state === "exited") return true;
      const atMostMs = end - this.#clock.monotonicMs();
      if (atMostMs <= 0) return false;
      await this.#exits.next({ signal, atMostMs });
    }
  }

  async #mayWrite(containerId: string): Promise<boolean> {
    const isHere = (await this.#store.container(containerId)) !== undefined;
    return isHere && (await this.#look(containerId)).state !== "exited";
  }

  async #find(containerId: string): Promise<{ config: ContainerConfig; current: ContainerProcess }> {
    const config = await this.#store.container(containerId);
    if (config === undefined) throw notFound("container", containerId);
    return { config, current: await this.#look(containerId) };
  }

  async #look(containerId: string): Promise<ContainerProcess> {
    return this.#processes.look(this.#store.containerFolder(containerId), this.#store.exitFile(containerId));
  }
}

function recordOf(
  id: string,
  sandboxId: string,
  config: ContainerConfig,
  current: ContainerProcess,
): ContainerRecord {
  const exited = current.state === "exited" ? current : undefined;
  return {
    id,
    sandboxId,
    name: config.name,
    attempt: config.attempt,
    state: current.state,
    startedAtMs: current.state === "created" ? undefined : current.startedAtMs,
    finishedAtMs: exited?.finishedAtMs,
    exitCode: exited?.exitCode,
    reason: exited?.reason,
    message: exited?.message,
  };
}
