/** Something that goes wrong once, on the next stream that carries bytes in that direction. */
export interface MemoryFault {
  /** Whose bytes are hit. */
  readonly from: "client" | "server";
  /** So many bytes of the stream still arrive. */
  readonly afterBytes: number;
  /**
   * What the receiver sees then: `truncate` an end of the stream where more should come, `reset` a reset stream,
   * `stall` nothing any more, `lose` the loss of the whole connection (both sides).
   */
  readonly effect: "truncate" | "reset" | "stall" | "lose";
}

/** Faults that wait for a stream to hit. */
export class MemoryFaults {
  readonly #waiting: MemoryFault[] = [];

  add(fault: MemoryFault): void {
    this.#waiting.push(fault);
  }

  /** The first fault for bytes from that side; it is used up. */
  take(from: MemoryFault["from"]): MemoryFault | undefined {
    const at = this.#waiting.findIndex((fault) => fault.from === from);
    return at === -1 ? undefined : this.#waiting.splice(at, 1)[0];
  }
}
