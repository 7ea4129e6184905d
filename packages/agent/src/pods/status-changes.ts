import { Bell } from "@rk8s/protocol";
import type { PodReport } from "./pod-host.js";

/** Reports that nobody has read yet, the newest per pod: never more than there are pods. */
export class StatusChanges {
  readonly #unread = new Map<string, PodReport>();
  readonly #bell = new Bell();
  #hasReader = false;

  push(report: PodReport): void {
    this.#unread.set(report.uid, report);
    this.#bell.ring();
  }

  /** Drop what is unread of a pod that is gone. */
  forget(uid: string): void {
    this.#unread.delete(uid);
  }

  /** Ends when the signal is aborted. @throws TypeError when there is a reader already. */
  async *read(options: { readonly signal: AbortSignal }): AsyncGenerator<PodReport, void, undefined> {
    const { signal } = options;
    if (this.#hasReader) throw new TypeError("status changes have one reader at a time");
    this.#hasReader = true;
    try {
      while (!signal.aborted) {
        const [first] = this.#unread;
        if (first === undefined) {
          await this.#bell.wait(signal);
        } else {
          this.#unread.delete(first[0]);
          yield first[1];
        }
      }
    } finally {
      this.#hasReader = false;
    }
  }
}
