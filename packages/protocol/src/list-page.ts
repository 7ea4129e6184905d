import { utf8 } from "./bytes.js";
import { LIMITS } from "./limits.js";

/** Of the items of one answer as JSON; the rest of the message is small. */
const MAX_PAGE_BYTES = LIMITS.maxMessageBytes - 65_536;

/** One page of a list: as many items as fit into one message. */
export class ListPage<T> {
  readonly items: T[] = [];
  #bytes = 0;

  /** Add an item as it is sent. False: the page is full, and the item belongs to the next one; the first one is always added. */
  add(item: T): boolean {
    this.#bytes += utf8(JSON.stringify(item)).byteLength + 1;
    const isFull = this.items.length === LIMITS.maxListItems || this.#bytes > MAX_PAGE_BYTES;
    if (isFull && this.items.length > 0) return false;
    this.items.push(item);
    return true;
  }
}
