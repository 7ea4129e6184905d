import {
  assertAnswer,
  type Clock,
  LIMITS,
  type Message,
  MessageStream,
  RksError,
  withDeadline,
} from "@rk8s/protocol";
import type { NodeLink } from "../nodes/node-link.js";

/** Streams of logs that are relayed at a time, all operators together; each holds one chunk in memory. */
const MAX_RELAYS = 256;

/**
 * Hands a pod's logs from its node to an operator, chunk by chunk: the node is read no faster than the operator
 * reads. Ends when either side ends.
 */
export class LogRelay {
  readonly #clock: Clock;
  #relays = 0;

  constructor(ports: { readonly clock: Clock }) {
    this.#clock = ports.clock;
  }

  /**
   * @throws {RksError} BUSY when too many are relayed; what the node answers instead of logs; TIMED_OUT when it
   * does not answer, or says nothing for a while without `follow`.
   */
  async relay(
    link: NodeLink,
    request: Message<"GetPodLogs">,
    operator: MessageStream,
    options: { readonly signal: AbortSignal },
  ): Promise<void> {
    if (this.#relays >= MAX_RELAYS) {
      throw new RksError("BUSY", `the control plane relays ${MAX_RELAYS} streams of logs already`, {
        suggestion: "Try again when one of them has ended.",
      });
    }
    this.#relays += 1;
    try {
      const signal = AbortSignal.any([options.signal, link.ended]);
      const node = new MessageStream(
        await this.#timed((inner) => link.openStream({ signal: inner }), signal),
      );
      try {
        await this.#copy(node, request, operator, signal);
      } finally {
        // After the end this changes nothing; before it, the node learns that nobody listens any more.
        node.reset();
      }
    } finally {
      this.#relays -= 1;
    }
  }

  async #copy(
    node: MessageStream,
    request: Message<"GetPodLogs">,
    operator: MessageStream,
    signal: AbortSignal,
  ): Promise<void> {
    const first = await this.#timed(async (inner) => {
      await node.send(request, { signal: inner });
      node.end();
      return (await node.receiveMessage({ signal: inner })).message;
    }, signal);
    await operator.send(assertAnswer(first, "PodLogs"), { signal });
    for (;;) {
      const received = request.follow
        ? await node.receive({ signal })
        : await this.#timed((inner) => node.receive({ signal: inner }), signal);
      if (received === undefined) return;
      if (received.kind === "bytes") await operator.sendBytes(received.bytes, { signal });
      else throw RksError.fromWire(assertAnswer(received.message, "Error"));
    }
  }

  async #timed<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    const options = { clock: this.#clock, timeoutMs: LIMITS.requestTimeoutMs, signal };
    return withDeadline(work, { ...options, attempt: "the node sent no logs" });
  }
}
