import { RksError, type Clock } from "@rk8s/protocol";
import type { NodeLink } from "./node-link.js";
import { errorOfEnd } from "./refusal.js";

/**
 * The connection over which a node is served now. A handover replaces it with a newer one while everything that runs
 * over it goes on; the one before drains beside it.
 */
export class Serving {
  /** Rejects with why the connection has ended that served the node; never resolves. */
  readonly broken: Promise<never>;
  #link: NodeLink;
  #turn: Promise<unknown> = Promise.resolve();
  /** Of the work that has the turn. */
  #preempt: AbortController | undefined;
  readonly #draining = new Set<Promise<void>>();
  readonly #end = new AbortController();
  readonly #fail: (error: RksError) => void;

  constructor(link: NodeLink) {
    let fail: (error: RksError) => void = () => undefined;
    this.broken = new Promise((_, reject) => {
      fail = reject;
    });
    this.broken.catch(() => undefined);
    this.#fail = fail;
    this.#link = link;
    this.#watch(link);
  }

  get link(): NodeLink {
    return this.#link;
  }

  /**
   * Run work that must not be under way while the connection is replaced, nor twice at a time. Its signal is aborted when it
   * keeps a handover waiting for too long; it can be done again over the next connection.
   */
  async exclusive<T>(work: (preempted: AbortSignal) => Promise<T>): Promise<T> {
    const turn = this.#turn.then(async () => {
      const preempt = new AbortController();
      this.#preempt = preempt;
      return work(preempt.signal);
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /**
   * Serve the node over another connection from now on, once `register` has registered it there. When that fails
   * everything stays as it is. Exclusive work that is under way has `patienceMs` to end by itself.
   */
  async replace(
    register: () => Promise<NodeLink>,
    options: { readonly clock: Clock; readonly patienceMs: number },
  ): Promise<void> {
    const turnCame = new AbortController();
    const preempt = async (): Promise<void> => {
      await options.clock.sleep(options.patienceMs, { signal: turnCame.signal });
      this.#preempt?.abort(new RksError("CONFLICT", "the node's connection is being replaced"));
    };
    preempt().catch(() => undefined);
    await this.exclusive(async () => {
      turnCame.abort();
      const before = this.#link;
      this.#link = await register();
      this.#watch(this.#link);
      const drained = before
        .drain({ signal: this.#end.signal })
        .finally(() => this.#draining.delete(drained));
      this.#draining.add(drained);
    });
  }

  /** Close every connection, those that still drain included. */
  async close(): Promise<void> {
    this.#end.abort();
    await this.#link.close();
    await Promise.all(this.#draining);
  }

  #watch(link: NodeLink): void {
    const watch = async (): Promise<void> => {
      const end = await link.connection.ended;
      if (this.#link === link) this.#fail(errorOfEnd(end));
    };
    watch().catch(() => undefined);
  }
}
