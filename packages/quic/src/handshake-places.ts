import { KnownNetworks } from "./known-networks.js";
import { NetworkCounts, networkOf } from "./network.js";

/** However small the whole number is, one network gets this many places. */
const LEAST_PER_NETWORK = 4;
/** Of the places, for networks from which joined nodes have come. */
const RESERVED_SHARE = 0.25;
/** A handshake takes two round trips; one that takes longer than this makes room when others wait. */
const SLOW_AFTER_MS = 2_000;
/** Clients that wait for a place, 1.3 KB each; who is turned away repeats its packet and loses a second. */
const MAX_WAITING = 256;
/** Who has waited this long has most likely given up. */
const MAX_WAIT_MS = 5_000;

/** A handshake that is under way. */
export interface HandshakePlace {
  /** Ends the handshake, which gives the place back; whoever holds the place sets it. */
  giveUp: () => void;
}

interface Held extends HandshakePlace {
  readonly network: string;
  readonly sinceMs: number;
}

interface Waiting {
  readonly network: string;
  readonly sinceMs: number;
  readonly begin: (place: HandshakePlace) => void;
}

export interface HandshakePlacesInit {
  readonly most: number;
  readonly monotonicMs: () => number;
  /** Called when somebody who waited has a place; runs `begin` soon. @returns false when it cannot. */
  readonly onTurn: (begin: () => void) => boolean;
}

/**
 * Bounds the handshakes under way. One network gets half of the places and half of the queue behind them; a quarter of
 * all places is kept for networks from which somebody has shown a good certificate; a slow handshake makes room for one
 * that waits, so nobody keeps others out by beginning handshakes and not going on.
 */
export class HandshakePlaces {
  readonly #init: HandshakePlacesInit;
  readonly #mostPerNetwork: number;
  readonly #mostOfStrangers: number;
  readonly #known = new KnownNetworks();
  /** In the order in which they began. */
  readonly #held = new Set<Held>();
  readonly #heldBy = new NetworkCounts();
  /** By connection id, in the order in which they came. */
  readonly #waiting = new Map<string, Waiting>();
  readonly #waitingOf = new NetworkCounts();

  constructor(init: HandshakePlacesInit) {
    this.#init = init;
    this.#mostPerNetwork = Math.max(LEAST_PER_NETWORK, Math.ceil(init.most / 2));
    this.#mostOfStrangers = init.most - Math.floor(init.most * RESERVED_SHARE);
  }

  /** Begin now, or when it is one's turn. Who is waiting already waits on; when too many do, nothing happens. */
  enter(id: string, host: string, begin: (place: HandshakePlace) => void): void {
    const network = networkOf(host);
    if (this.#hasRoom(network) && !this.#waiting.has(id)) {
      begin(this.#hold(network));
      return;
    }
    if (!this.#waiting.has(id) && this.#mayWait(network)) {
      this.#waiting.set(id, { network, sinceMs: this.#init.monotonicMs(), begin });
      this.#waitingOf.add(network);
    }
    this.#makeRoom(network);
  }

  /** Somebody from there has shown a good certificate. */
  know(host: string): void {
    this.#known.add(networkOf(host));
  }

  /** Give back a place. Idempotent. */
  leave(place: HandshakePlace): void {
    const held = place as Held;
    if (!this.#held.delete(held)) return;
    this.#heldBy.remove(held.network);
    this.#callNext();
  }

  #hold(network: string): Held {
    const held: Held = {
      network,
      sinceMs: this.#init.monotonicMs(),
      giveUp: () => this.leave(held),
    };
    this.#held.add(held);
    this.#heldBy.add(network);
    return held;
  }

  #callNext(): void {
    const now = this.#init.monotonicMs();
    for (const [id, { network, sinceMs, begin }] of this.#waiting) {
      const isGone = now - sinceMs > MAX_WAIT_MS;
      if (!isGone && !this.#hasRoom(network)) continue;
      this.#waiting.delete(id);
      this.#waitingOf.remove(network);
      if (isGone) continue;
      const held = this.#hold(network);
      if (!this.#init.onTurn(() => begin(held))) this.leave(held);
      return;
    }
  }

  #hasRoom(network: string): boolean {
    const most = this.#known.has(network) ? this.#init.most : this.#mostOfStrangers;
    return this.#held.size < most && this.#heldBy.of(network) < this.#mostPerNetwork;
  }

  #mayWait(network: string): boolean {
    return this.#waiting.size < MAX_WAITING && this.#waitingOf.of(network) < MAX_WAITING / 2;
  }

  /** Slow handshakes go, as many as others wait for; those of this network, unless all places are taken. */
  #makeRoom(network: string): void {
    const slowSince = this.#init.monotonicMs() - SLOW_AFTER_MS;
    const isFull = this.#heldBy.of(network) < this.#mostPerNetwork;
    for (const held of [...this.#held]) {
      if (held.sinceMs > slowSince || this.#waiting.size === 0) return;
      if (isFull || held.network === network) held.giveUp();
    }
  }
}
