/**
 * Work for peers that have shown no certificate, the most advanced first: a handshake under way; one that begins, whose
 * address is validated; an address that wants to be validated.
 */
export type LobbyRank = "handshake" | "beginning" | "stranger";

/** What one peer's work has cost so far. */
export interface LobbyAccount {
  costMs: number;
  /** The peer has turned out to be known: what it costs and has cost is not a stranger's. */
  readonly isKnown: boolean;
}

interface Work {
  readonly run: () => void;
  readonly account: LobbyAccount | undefined;
}

/**
 * Datagrams that wait, some 1.3 KB each. A burst of handshakes is three datagrams each; what overflows is repeated
 * by who means it. Requests for validation are cheap to repeat, and what a flood consists of.
 */
const MAX_WAITING: Readonly<Record<LobbyRank, number>> = { handshake: 1024, beginning: 512, stranger: 256 };
const RANKS: readonly LobbyRank[] = ["handshake", "beginning", "stranger"];
/** Of one core, however long a flood lasts; a joined node's handshakes are given back, so they may take all of it. */
const SHARE = 0.6;
/** What may be spent at once after a quiet time: some two hundred handshakes. */
const BURST_MS = 250;
/** After so long, everybody else on this thread gets a turn. */
const SLICE_MS = 4;

/**
 * Where work for strangers waits until nothing better is to be done. It has a bounded number of places, a share of
 * the processor, and short turns: who is known never waits behind it for longer than one turn.
 */
export class Lobby {
  readonly #monotonicMs: () => number;
  readonly #waiting: Readonly<Record<LobbyRank, Work[]>> = { handshake: [], beginning: [], stranger: [] };
  /** Milliseconds of work that may be spent; below zero after the last piece took longer. */
  #creditMs = BURST_MS;
  #filledAtMs: number;

  constructor(ports: { readonly monotonicMs: () => number }) {
    this.#monotonicMs = ports.monotonicMs;
    this.#filledAtMs = ports.monotonicMs();
  }

  /** Let a piece of work wait. @returns false when there is no place; it is not done then. */
  enter(rank: LobbyRank, run: () => void, account?: LobbyAccount): boolean {
    const queue = this.#waiting[rank];
    if (queue.length >= MAX_WAITING[rank]) return false;
    queue.push({ run, account });
    return true;
  }

  /**
   * Do what waits, for one turn at most.
   * @returns after how many milliseconds to call again; undefined when nothing waits.
   */
  serve(): number | undefined {
    const begun = this.#monotonicMs();
    this.#fill(begun);
    let now = begun;
    while (this.#creditMs > 0 && now - begun < SLICE_MS) {
      const work = this.#next();
      if (work === undefined) return undefined;
      work.run();
      const end = this.#monotonicMs();
      this.#charge(end - now, work.account);
      now = end;
    }
    if (RANKS.every((rank) => this.#waiting[rank].length === 0)) return undefined;
    return this.#creditMs > 0 ? 0 : Math.ceil((1 - this.#creditMs) / SHARE);
  }

  #fill(now: number): void {
    this.#creditMs = Math.min(BURST_MS, this.#creditMs + (now - this.#filledAtMs) * SHARE);
    this.#filledAtMs = now;
  }

  #charge(costMs: number, account: LobbyAccount | undefined): void {
    if (account === undefined) {
      this.#creditMs -= costMs;
    } else if (account.isKnown) {
      this.#creditMs = Math.min(BURST_MS, this.#creditMs + account.costMs);
      account.costMs = 0;
    } else {
      this.#creditMs -= costMs;
      account.costMs += costMs;
    }
  }

  #next(): Work | undefined {
    for (const rank of RANKS) {
      const work = this.#waiting[rank].shift();
      if (work !== undefined) return work;
    }
    return undefined;
  }
}
