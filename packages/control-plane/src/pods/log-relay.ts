import {
  assertAnswer,
  type Clock,
  LIMITS,
  LinkedAbort,
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
 * reads. Ends when either side ends. When the node replaces its connection the logs go on over the new one, and the
 * operator notices nothing.
 */
export class LogRelay {
  readonly #clock: Clock;
  #relays = 0;

  constructor(ports: { readonly clock: Clock }) {
    this.#clock = ports.clock;
  }

  /**
   * `linkOf` gives the connection on which the pod's node is asked now.
   * @throws {RksError} BUSY when too many are relayed; what the node answers instead of logs; TIMED_OUT when it
   * does not answer, or says nothing for a while without `follow`; and what `linkOf` throws.
   */
  async relay(
    linkOf: () => Promise<NodeLink>,
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
      // Where a node's logs go on is between the node and us.
      const { resume: _, ...first } = request;
      let link = await linkOf();
      let moved = await this.#copy(link, first, operator, options);
      while (moved !== undefined) {
        const before = link;
        link = await linkOf();
        if (link === before) throw new RksError("MESSAGE_UNEXPECTED", "the node moved logs to nowhere");
        moved = await this.#copy(link, { ...first, resume: moved.resume }, operator, options);
      }
      await operator.endBytes(options);
    } finally {
      this.#relays -= 1;
    }
  }

  /** Copy from one connection of the node until the logs end; says so when they go on over another one. */
  async #copy(
    link: NodeLink,
    request: Message<"GetPodLogs">,
    operator: MessageStream,
    options: { readonly signal: AbortSignal },
  ): Promise<Message<"LogsMoved"> | undefined> {
    using life = new LinkedAbort(options.signal, link.ended);
    const { signal } = life;
    const node = new MessageStream(await this.#timed((inner) => link.openStream({ signal: inner }), signal));
    try {
      const first = await this.#timed(async (inner) => {
        await node.send(request, { signal: inner });
        node.end();
        return (await node.receiveMessage({ signal: inner })).message;
      }, signal);
      const logs = assertAnswer(first, "PodLogs");
      if (request.resume === undefined) await operator.send(logs, { signal });
      for (;;) {
        const received = request.follow
          ? await node.receive({ signal })
          : await this.#timed((inner) => node.receive({ signal: inner }), signal);
        if (received === undefined) return undefined;
        if (received.kind === "bytes") await operator.sendBytes(received.bytes, { signal });
        else if (received.message.type === "LogsMoved") return received.message;
        else throw RksError.fromWire(assertAnswer(received.message, "Error"));
      }
    } finally {
      // After the end this changes nothing; before it, the node learns that nobody listens any more.
      node.reset();
    }
  }

  async #timed<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    const options = { clock: this.#clock, timeoutMs: LIMITS.requestTimeoutMs, signal };
    return withDeadline(work, { ...options, attempt: "the node sent no logs" });
  }
}
