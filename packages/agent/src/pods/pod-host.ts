import type { Pod, PodStatus } from "@rk8s/protocol";

/** Which pod is meant. */
export interface PodKey {
  readonly namespace: string;
  readonly name: string;
}

/** A pod that is here, and how it is. */
export interface PodReport extends PodKey {
  readonly uid: string;
  readonly status: PodStatus;
}

export interface PodLogOptions {
  readonly container: string | undefined;
  readonly follow: boolean;
  readonly tailLines: number | undefined;
  readonly signal: AbortSignal;
}

/** What a session needs of the pods on this host; `pod-manager.ts` implements it over a runtime. */
export interface PodHost {
  /** Run this pod. The same uid again changes nothing; another uid under the same name replaces the old pod. */
  apply(pod: Pod): Promise<void>;
  /** Stop and forget; resolves when it is gone. Nothing to do when it is not here or has another uid. */
  remove(
    key: PodKey,
    options: { readonly uid: string | undefined; readonly graceSeconds: number | undefined },
  ): Promise<void>;
  /** Everything that is here, also from before this process. */
  list(): Promise<readonly PodReport[]>;
  /** Logs of one container. @throws {RksError} NOT_FOUND. */
  readLogs(
    key: PodKey,
    options: PodLogOptions,
  ): Promise<{ readonly container: string; readonly chunks: AsyncIterable<Uint8Array> }>;
  /** Each change of a pod's status, the newest per pod when the reader is slow. One reader at a time. */
  statusChanges(options: { readonly signal: AbortSignal }): AsyncIterable<PodReport>;
}
