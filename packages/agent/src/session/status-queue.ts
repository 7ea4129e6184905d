import { Bell } from "@rk8s/protocol";
import type { PodReport } from "../pods/pod-host.js";

/**
 * Pod statuses that the control plane has not heard of, the newest per pod; so it never holds more than there are
 * pods. One reader.
 */
export class StatusQueue {
  readonly #reports = new Map<string, PodReport>();
  readonly #bell = new Bell();

  add(report: PodReport): void {
    const key = keyOf(report);
    this.#reports.delete(key);
    this.#reports.set(key, report);
    this.#bell.ring();
  }

  /** Take back a report that `next` gave and that did not get through, unless there is a newer one by now. */
  restore(report: PodReport): void {
    if (!this.#reports.has(keyOf(report))) this.add(report);
  }

  /** Forget everything; registration is about to report it anyway. */
  clear(): void {
    this.#reports.clear();
  }

  /** The oldest report, once there is one. @throws the signal's reason when it is aborted. */
  async next(options: { readonly signal: AbortSignal }): Promise<PodReport> {
    const { signal } = options;
    for (;;) {
      signal.throwIfAborted();
      const [first] = this.#reports;
      if (first !== undefined) {
        this.#reports.delete(first[0]);
        return first[1];
      }
      await this.#bell.wait(signal);
    }
  }
}

function keyOf({ namespace, name, uid }: PodReport): string {
  return `${namespace}/${name}/${uid}`;
}
