import type { ErrorCode, RksError } from "@rk8s/protocol";

/** What happens to an agent, in the form that `rkl pod daemon --json` prints. Times are RFC 3339. */
export type AgentEvent = { readonly time: string } & AgentEventBody;

export type AgentEventBody =
  /** The control plane issued a certificate. */
  | { readonly event: "joined"; readonly node: string; readonly serial: string; readonly notAfter: string }
  /** The agent goes on with the identity that a process before it had; no token was used. */
  | { readonly event: "resumed"; readonly node: string; readonly serial: string; readonly notAfter: string }
  /** The node's key was lost, and a key of the machine or a grant brought it back under a new one. */
  | { readonly event: "recovered"; readonly node: string; readonly serial: string; readonly notAfter: string }
  /** What brings the node back after a reboot; `no`: an operator. */
  | {
      readonly event: "recovery";
      readonly node: string;
      readonly by: "tpm" | "ssh-host-key" | "grant" | "no";
    }
  /** A connection by mutual TLS is up. */
  | { readonly event: "connected"; readonly rksAddress: string }
  /** The control plane counts this node in. */
  | {
      readonly event: "registered";
      readonly node: string;
      readonly serial: string;
      readonly notAfter: string;
      /** When the certificate will be renewed. */
      readonly renewAt: string;
      /** By how much this host's clock is ahead of the control plane's, behind it when negative. */
      readonly clockSkewSeconds: number;
      /** Of the certificate: 0 at the node's first join; left out when the control plane does not say. */
      readonly generation?: number;
    }
  /** The node goes on with a new certificate and a new key; nothing else has changed. */
  | {
      readonly event: "renewed";
      readonly node: string;
      readonly serial: string;
      readonly notAfter: string;
      readonly renewAt: string;
      readonly clockSkewSeconds: number;
      /** Of the certificate: 0 at the node's first join; left out when the control plane does not say. */
      readonly generation?: number;
    }
  /** Other roots are trusted from now on. */
  | { readonly event: "trust"; readonly generation: number }
  /**
   * The process stood still for `pausedSeconds`, or the wall clock moved by `shiftedSeconds` against the monotonic one: it
   * was set, or the host was suspended. The certificate is renewed when the clock moved; a stop of the process alone leaves
   * the next renewal where it was.
   */
  | { readonly event: "clock"; readonly pausedSeconds: number; readonly shiftedSeconds: number }
  /** A connection that was up has ended. */
  | { readonly event: "disconnected"; readonly code: ErrorCode; readonly message: string }
  /** The next try to join or to connect comes after `delaySeconds`. */
  | {
      readonly event: "reconnecting";
      readonly attempt: number;
      readonly delaySeconds: number;
      readonly code: ErrorCode;
      readonly message: string;
    }
  /** A pod's status changed. */
  | {
      readonly event: "pod";
      readonly namespace: string;
      readonly name: string;
      readonly uid: string;
      readonly phase: string;
      readonly reason?: string;
    }
  /** The last event of an agent that was stopped. */
  | { readonly event: "stopped" }
  /** The last event of an agent that cannot go on. */
  | {
      readonly event: "error";
      readonly code: ErrorCode;
      readonly message: string;
      readonly suggestion?: string;
    };

/** Unread events beyond this are dropped, the oldest first: an agent whose events nobody reads must not grow. */
const MAX_UNREAD = 1024;

/** Events from one writer to one reader; what happened before the reader came is kept for it. */
export class EventLog {
  readonly #unread: AgentEvent[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #hasReader = false;

  push(event: AgentEvent): void {
    if (this.#ended) return;
    this.#unread.push(event);
    if (this.#unread.length > MAX_UNREAD) this.#unread.shift();
    this.#wake?.();
  }

  /** No more events will come. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** @throws TypeError when there is a reader already. */
  async *read(): AsyncGenerator<AgentEvent, void, undefined> {
    if (this.#hasReader) throw new TypeError("an agent's events have one reader");
    this.#hasReader = true;
    try {
      for (;;) {
        const event = this.#unread.shift();
        if (event !== undefined) yield event;
        else if (this.#ended) return;
        else await this.#more();
      }
    } finally {
      this.#hasReader = false;
    }
  }

  async #more(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }
}

/** How a failure is reported as the last event. */
export function errorEvent(error: RksError): AgentEventBody {
  const { code, message, suggestion } = error;
  return { event: "error", code, message, ...(suggestion === undefined ? {} : { suggestion }) };
}
