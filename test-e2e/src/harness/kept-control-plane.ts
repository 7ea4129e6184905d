import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "./cluster.js";

const PAUSE_MS = 200;

/** An rks that is started again whenever it ends, as a service manager does. */
export class KeptControlPlane implements AsyncDisposable {
  readonly cluster: Cluster;
  /** Exit codes of processes that ended by themselves, with the last line that they said. */
  readonly ends: string[] = [];
  #isReady = true;
  #isOver = false;
  readonly #keeping: Promise<void>;

  /** `cluster`: one whose control plane is ready. */
  constructor(cluster: Cluster) {
    this.cluster = cluster;
    this.#keeping = this.#keep();
  }

  get isReady(): boolean {
    return this.#isReady && this.cluster.controlPlane.isRunning;
  }

  /** It is not ready from now on, although the process takes some milliseconds to end. */
  kill(): void {
    this.#isReady = false;
    this.cluster.controlPlane.kill("SIGKILL");
  }

  /** Let the process that runs now be the last one. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    this.kill();
    await this.#keeping;
  }

  async #keep(): Promise<void> {
    for (;;) {
      const { controlPlane } = this.cluster;
      const code = await controlPlane.exited;
      this.#isReady = false;
      if (this.#isOver) return;
      if (code !== null) this.ends.push(`${code}: ${controlPlane.stderr.trim().split("\n").at(-1) ?? ""}`);
      await sleep(PAUSE_MS);
      if (this.#isOver) return;
      this.#isReady = await this.cluster.startControlPlane().then(
        () => true,
        // It was killed, or gave up, before it was ready.
        () => false,
      );
    }
  }
}
