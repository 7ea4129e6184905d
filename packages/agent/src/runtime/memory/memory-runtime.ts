import { RksError, type Clock } from "@rk8s/protocol";
import type {
  ContainerConfig,
  ContainerRecord,
  LogOptions,
  PodRuntime,
  RuntimeInfo,
  Sandbox,
  SandboxConfig,
} from "../pod-runtime.js";

const LINE = /[^\n]*\n|[^\n]+$/g;

interface Container {
  record: ContainerRecord;
  readonly config: ContainerConfig;
  log: string;
  /** Resolved and replaced at each change. */
  changed: { readonly promise: Promise<void>; readonly resolve: () => void };
}

/** What tests can do with a memory runtime beyond the port. */
export interface MemoryRuntime extends PodRuntime {
  /** Let a container's current process end. @throws {TypeError} when none of that name runs. */
  exit(containerName: string, exitCode: number): void;
  /** Write into the log of a running container. @throws {TypeError} when none of that name runs. */
  write(containerName: string, text: string): void;
  /** What was asked of the runtime, in order: `start web/0`, `stop web/0 30`, `kill web/0`, `remove web/0`. */
  readonly calls: readonly string[];
  /** Let the next `count` calls of `runSandbox` fail with RUNTIME_FAILED. */
  failSandboxes(count: number): void;
}

/**
 * A runtime without processes, for tests. Containers obey their command: `["exit", "3"]` ends at once, `["print", "text"]`
 * writes and ends with 0, `["missing"]` cannot be started, `["deaf"]` ignores SIGTERM, everything else runs until
 * it is stopped (143, or 137 without grace) or `exit` is called. Grace is waited for by the clock.
 */
export function memoryRuntime(ports: { readonly clock: Clock }): MemoryRuntime {
  const { clock } = ports;
  const sandboxes = new Map<string, Sandbox>();
  const containers = new Map<string, Container>();
  const calls: string[] = [];
  let sandboxFailures = 0;

  const find = (id: string): Container => {
    const container = containers.get(id);
    if (container === undefined) throw new RksError("NOT_FOUND", `container "${id}" is not here`);
    return container;
  };
  const update = (container: Container, change: Partial<ContainerRecord>): void => {
    container.record = { ...container.record, ...change };
    const { resolve } = container.changed;
    container.changed = signalled();
    resolve();
  };
  const end = (container: Container, exitCode: number, reason?: string, message?: string): void => {
    if (container.record.state === "exited") return;
    const why = reason ?? (exitCode === 0 ? "Completed" : "Error");
    update(container, { state: "exited", exitCode, reason: why, message, finishedAtMs: clock.now() });
  };
  const within = (sandboxId: string): Container[] =>
    [...containers.values()].filter(({ record }) => record.sandboxId === sandboxId);
  const kill = (container: Container): void => {
    if (container.record.state !== "running") return;
    calls.push(`kill ${labelOf(container)}`);
    end(container, 137);
  };
  const running = (name: string): Container => {
    const found = [...containers.values()].find(
      ({ record }) => record.name === name && record.state === "running",
    );
    if (found === undefined) throw new TypeError(`no container "${name}" runs`);
    return found;
  };

  return {
    calls,
    exit: (name, exitCode) => end(running(name), exitCode),
    write: (name, text) => {
      const container = running(name);
      container.log += text;
      update(container, {});
    },
    failSandboxes: (count) => {
      sandboxFailures = count;
    },
    info: (): Promise<RuntimeInfo> =>
      Promise.resolve({ name: "memory", version: "1", ready: true, features: new Set() }),
    // oxlint-disable-next-line typescript/require-await -- throws become rejections
    async runSandbox(config: SandboxConfig) {
      if (sandboxFailures-- > 0) throw new RksError("RUNTIME_FAILED", "the sandbox could not be made");
      const id = `${config.uid}/${config.attempt}`;
      if (!sandboxes.has(id)) sandboxes.set(id, { ...config, id, state: "ready", createdAtMs: clock.now() });
      return id;
    },
    stopSandbox(id) {
      const sandbox = sandboxes.get(id);
      if (sandbox !== undefined) sandboxes.set(id, { ...sandbox, state: "stopped" });
      within(id).forEach(kill);
      return Promise.resolve();
    },
    removeSandbox(id) {
      for (const container of within(id)) {
        kill(container);
        containers.delete(container.record.id);
      }
      sandboxes.delete(id);
      return Promise.resolve();
    },
    listSandboxes: () => Promise.resolve([...sandboxes.values()]),
    // oxlint-disable-next-line typescript/require-await -- throws become rejections
    async createContainer(sandboxId, config) {
      if (!sandboxes.has(sandboxId)) throw new RksError("NOT_FOUND", `sandbox "${sandboxId}" is not here`);
      const id = `${sandboxId}/${config.name}/${config.attempt}`;
      if (!containers.has(id)) {
        const record: ContainerRecord = {
          ...UNSTARTED,
          id,
          sandboxId,
          name: config.name,
          attempt: config.attempt,
        };
        containers.set(id, { record, config, log: "", changed: signalled() });
      }
      return id;
    },
    // oxlint-disable-next-line typescript/require-await -- throws become rejections
    async startContainer(id) {
      const container = find(id);
      const [verb, argument = ""] = [...container.config.command, ...container.config.args];
      if (container.record.state !== "created") {
        throw new RksError("RUNTIME_FAILED", `container "${id}" was started before`);
      }
      calls.push(`start ${labelOf(container)}`);
      if (verb === undefined || verb === "missing") {
        end(container, 128, "StartError", "no such command");
        throw new RksError("RUNTIME_FAILED", `container "${container.config.name}" has no such command`);
      }
      update(container, { state: "running", startedAtMs: clock.now() });
      if (verb === "print") container.log += argument;
      if (verb === "deaf") container.log += "deaf\n";
      if (verb === "print") end(container, 0);
      if (verb === "exit") end(container, Number(argument));
    },
    async stopContainer(id, graceSeconds) {
      const container = containers.get(id);
      if (container === undefined || container.record.state !== "running") return;
      calls.push(`stop ${labelOf(container)} ${graceSeconds}`);
      if (graceSeconds > 0) {
        if (container.config.command[0] !== "deaf") return end(container, 143);
        const over = new AbortController();
        const slept = clock.sleep(graceSeconds * 1000, { signal: over.signal });
        await Promise.race([slept.catch(() => undefined), exited(container)]);
        over.abort();
      }
      kill(container);
    },
    removeContainer(id) {
      const container = containers.get(id);
      if (container !== undefined) {
        kill(container);
        calls.push(`remove ${labelOf(container)}`);
      }
      containers.delete(id);
      return Promise.resolve();
    },
    listContainers: (sandboxId) =>
      Promise.resolve(
        [...containers.values()]
          .map(({ record }) => record)
          .filter((record) => sandboxId === undefined || record.sandboxId === sandboxId),
      ),
    async waitContainer(id, { signal }) {
      const container = find(id);
      signal.throwIfAborted();
      await Promise.race([exited(container), aborted(signal)]);
      return container.record;
    },
    async *readLogs(id, { follow, tailLines, signal }: LogOptions) {
      const container = find(id);
      let at = 0;
      if (tailLines !== undefined) {
        const lines = container.log.match(LINE) ?? [];
        at =
          container.log.length -
          lines.slice(lines.length - Math.min(tailLines, lines.length)).join("").length;
      }
      for (;;) {
        signal.throwIfAborted();
        const { promise } = container.changed;
        const over = container.record.state === "exited";
        if (at < container.log.length) yield new TextEncoder().encode(container.log.slice(at));
        at = container.log.length;
        if (over || !follow) return;
        await Promise.race([promise, aborted(signal)]);
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

const UNSTARTED = {
  state: "created",
  startedAtMs: undefined,
  finishedAtMs: undefined,
  exitCode: undefined,
  reason: undefined,
  message: undefined,
} as const;

function labelOf({ record }: Container): string {
  return `${record.name}/${record.attempt}`;
}

async function exited(container: Container): Promise<void> {
  while (container.record.state !== "exited") await container.changed.promise;
}

async function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}

function signalled(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve!: () => void;
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}
