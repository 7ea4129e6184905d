import type { WatchAnswer, WatchEvent } from "./messages.js";

/**
 * How far a watch has come, so that one that is begun again neither skips nor repeats. etcd may send the events of one
 * revision in several answers (fragments), and the connection may break between them.
 */
export class WatchPosition {
  /** Of earlier revisions everything was given. */
  #revision: number;
  /** Of the events at `#revision` so many were given. */
  #given = 0;
  /** Of those so many will come again, because etcd was asked for the whole revision. */
  #repeated = 0;

  constructor(fromRevision: number) {
    this.#revision = fromRevision;
  }

  /** Where etcd must begin. */
  get revision(): number {
    return this.#revision;
  }

  /** A stream from `revision` on begins. */
  begin(): void {
    this.#repeated = this.#given;
  }

  /** Take the next event of the stream. False: it was given before. */
  take({ entry: { modRevision } }: WatchEvent): boolean {
    if (modRevision !== this.#revision) {
      this.#moveTo(modRevision);
    } else if (this.#repeated > 0) {
      this.#repeated -= 1;
      return false;
    }
    this.#given += 1;
    return true;
  }

  /** All events of the answer were taken. */
  finish({ isFragment, isCreated, events, revision }: WatchAnswer): void {
    if (isFragment || isCreated) return;
    // Without events it says how far etcd has come without any; with events it may be ahead of what is still to be sent.
    if (events.length > 0) this.#moveTo(this.#revision + 1);
    else if (revision >= this.#revision) this.#moveTo(revision + 1);
  }

  #moveTo(revision: number): void {
    this.#revision = revision;
    this.#given = 0;
    this.#repeated = 0;
  }
}
