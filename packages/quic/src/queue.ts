/**
 * Hand values from a producer that does not wait to one reader that does. It holds what the reader has not taken
 * yet; whoever pushes keeps that bounded.
 */
export class HandoverQueue<T> {
  readonly #values: T[] = [];
  #ended = false;
  #wake: (() => void) | undefined;
  #hasReader = false;

  get length(): number {
    return this.#values.length;
  }

  /** Add a value; dropped after `end()`. */
  push(value: T): void {
    if (this.#ended) return;
    this.#values.push(value);
    this.#signal();
  }

  /** Take back a value that nobody has read yet. */
  remove(value: T): void {
    const index = this.#values.indexOf(value);
    if (index !== -1) this.#values.splice(index, 1);
  }

  /** Let the reader finish what is there and end. Idempotent. */
  end(): void {
    this.#ended = true;
    this.#signal();
  }

  /** Read until the end, calling `onTaken` for each value. @throws TypeError while there is another reader. */
  values(onTaken: (value: T) => void = () => undefined): AsyncIterable<T> {
    return { [Symbol.asyncIterator]: () => this.#read(onTaken) };
  }

  async *#read(onTaken: (value: T) => void): AsyncGenerator<T, void, undefined> {
    if (this.#hasReader) throw new TypeError("only one reader at a time is allowed");
    this.#hasReader = true;
    try {
      for (;;) {
        const value = this.#values.shift();
        if (value !== undefined) {
          onTaken(value);
          yield value;
        } else if (this.#ended) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.#hasReader = false;
    }
  }

  #signal(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
