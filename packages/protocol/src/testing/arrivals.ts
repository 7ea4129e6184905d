import { Bell } from "./bell.js";

/** What arrives for one reader, in order, until it is closed. Never holds more than `max`. */
export class Arrivals<T> implements AsyncIterable<T> {
  readonly #max: number;
  readonly #waiting: T[] = [];
  readonly #bell = new Bell();
  #closed = false;
  #claimed = false;

  constructor(max: number) {
    this.#max = max;
  }

  /** Add one; false when the queue is full or closed, and nothing was added. */
  add(item: T): boolean {
    if (this.#closed || this.#waiting.length >= this.#max) return false;
    this.#waiting.push(item);
    this.#bell.ring();
    return true;
  }

  /** End the reader's loop; what nobody took is dropped. */
  close(): void {
    this.#closed = true;
    this.#waiting.length = 0;
    this.#bell.ring();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    if (this.#claimed) throw new TypeError("there is one reader already");
    this.#claimed = true;
    for (;;) {
      const item = this.#waiting.shift();
      if (item !== undefined) yield item;
      else if (this.#closed) return;
      else await this.#bell.wait(undefined);
    }
  }
}
