/**
 * What runs pods, shaped like the Kubernetes Container Runtime Interface v1: a pod is a sandbox with containers in
 * it. `process/` is the adapter for child processes; `pod-runtime.contract.ts` is the suite every adapter passes.
 * All state needed after a restart of the agent is the runtime's own: sandboxes and containers are found again by
 * listing.
 */
export interface PodRuntime extends AsyncDisposable {
  info(): Promise<RuntimeInfo>;
  /** Make a sandbox; the same pod uid and attempt again gives the same id. @throws {RksError} RUNTIME_FAILED. */
  runSandbox(config: SandboxConfig): Promise<string>;
  /** Stop whatever still runs in it, without grace. Stopping twice is fine. */
  stopSandbox(sandboxId: string): Promise<void>;
  /** Forget it with its containers and logs. Removing what is not there is fine. */
  removeSandbox(sandboxId: string): Promise<void>;
  listSandboxes(): Promise<readonly Sandbox[]>;
  /** The same name and attempt again gives the same id. @throws {RksError} NOT_FOUND, RUNTIME_FAILED. */
  createContainer(sandboxId: string, config: ContainerConfig): Promise<string>;
  /**
   * @throws {RksError} RUNTIME_FAILED when the command cannot be started (the container has then exited with 128 and
   * `StartError`) or was started before.
   */
  startContainer(containerId: string): Promise<void>;
  /** SIGTERM, then SIGKILL after the grace period. Resolves when the container has exited; stopping twice is fine. */
  stopContainer(containerId: string, graceSeconds: number): Promise<void>;
  /** Forget it and its logs; stops it first. Removing what is not there is fine. */
  removeContainer(containerId: string): Promise<void>;
  /** Of one sandbox or of all. */
  listContainers(sandboxId?: string): Promise<readonly ContainerRecord[]>;
  /** Resolves when the container has exited; at once when it has already. @throws {RksError} NOT_FOUND. */
  waitContainer(containerId: string, options: { readonly signal: AbortSignal }): Promise<ContainerRecord>;
  /** What the container wrote, oldest first. With `follow` it goes on until the container exits. @throws {RksError} NOT_FOUND. */
  readLogs(containerId: string, options: LogOptions): AsyncIterable<Uint8Array>;
}

export interface RuntimeInfo {
  /** For example `process`. */
  readonly name: string;
  readonly version: string;
  readonly ready: boolean;
  /** What the adapter can do beyond running a command. */
  readonly features: ReadonlySet<"images" | "network" | "limits" | "exec">;
}

export interface SandboxConfig {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly attempt: number;
  /** The pod's manifest as JSON: what the agent needs to go on with the pod after its own restart. */
  readonly manifest: string;
}

export interface Sandbox extends SandboxConfig {
  readonly id: string;
  readonly state: "ready" | "stopped";
  readonly createdAtMs: number;
}

export interface ContainerConfig {
  readonly name: string;
  readonly attempt: number;
  readonly image: string | undefined;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly workingDir: string | undefined;
  readonly env: readonly { readonly name: string; readonly value: string }[];
}

export interface ContainerRecord {
  readonly id: string;
  readonly sandboxId: string;
  readonly name: string;
  readonly attempt: number;
  readonly state: "created" | "running" | "exited";
  readonly startedAtMs: number | undefined;
  readonly finishedAtMs: number | undefined;
  /** 128 + signal when a signal ended it. Undefined until it has exited. */
  readonly exitCode: number | undefined;
  /** `Completed`, `Error`, `StartError` when it could not be started, `ContainerStatusUnknown` when nobody saw it end. */
  readonly reason: string | undefined;
  /** What a person should know about the reason. */
  readonly message: string | undefined;
}

export interface LogOptions {
  readonly follow: boolean;
  /** Only the last lines; all when absent. */
  readonly tailLines?: number | undefined;
  readonly signal: AbortSignal;
}
