import type { HeadStore } from "../audit-chain.js";
import type { ChainHead } from "../chain-link.js";

/** Remembers the head of a chain in memory, and can forget to. */
export class MemoryHeads implements HeadStore {
  head: ChainHead | undefined;
  saves = 0;
  isBroken = false;

  load(): Promise<ChainHead | undefined> {
    return Promise.resolve(this.head);
  }

  save(head: ChainHead): Promise<void> {
    if (this.isBroken) return Promise.reject(new Error("the test broke the store"));
    this.saves += 1;
    this.head = head;
    return Promise.resolve();
  }
}
