import { setImmediate as nextTurn } from "node:timers/promises";
import type { Storage, Write } from "@rk8s/storage";

/** Digits of seconds since the epoch up to the year 9999, so that keys sort as times do. */
const TIME_DIGITS = 12;

/** A certificate in an index by its end. */
export interface Ending {
  readonly serialNumber: string;
  /** Milliseconds, whole seconds. */
  readonly notAfterMs: number;
}

/** A page of an index by end. */
export interface EndingPage {
  readonly endings: readonly Ending[];
  readonly more: boolean;
}

/** Which part of the index to read; from the earliest end to the latest. */
export interface EndingRange {
  /** Ends that are earlier are left out. */
  readonly fromMs?: number;
  /** Ends at this time and later are left out. */
  readonly beforeMs?: number;
  /** Read on after this one. */
  readonly after?: Ending;
  readonly limit?: number;
}

/** Serial numbers in the order in which their certificates end; the keys say everything, the values are empty. */
export class ExpiryIndex {
  readonly #storage: Storage;
  readonly #folder: string;

  /** @param folder with the slash at its end. */
  constructor(storage: Storage, folder: string) {
    this.#storage = storage;
    this.#folder = folder;
  }

  /** The write that adds a certificate. */
  put(ending: Ending): Write {
    return { type: "put", key: this.#key(ending), value: new Uint8Array() };
  }

  /** The write that takes a certificate out. */
  delete(ending: Ending): Write {
    return { type: "delete", key: this.#key(ending) };
  }

  /** Read a page. Keys that are no entries are passed over. */
  async list(range: EndingRange = {}): Promise<EndingPage> {
    const { fromMs = 0, beforeMs, limit, after } = range;
    const start = after === undefined ? this.#folder + timeDigits(fromMs) : this.#key(after);
    const page = await this.#storage.list(this.#folder, {
      after: start,
      ...(limit === undefined ? {} : { limit }),
    });
    const endings = page.entries.map(({ key }) => this.#parse(key)).filter((ending) => ending !== undefined);
    const last = beforeMs === undefined ? -1 : endings.findIndex(({ notAfterMs }) => notAfterMs >= beforeMs);
    return last === -1 ? { endings, more: page.more } : { endings: endings.slice(0, last), more: false };
  }

  /** All pages of a part of the index, with a turn of the event loop for others between them. */
  async *pages(range: Omit<EndingRange, "after"> = {}): AsyncGenerator<readonly Ending[], void, void> {
    for (let after: Ending | undefined, more = true; more;) {
      const page = await this.list(after === undefined ? range : { ...range, after });
      yield page.endings;
      after = page.endings.at(-1);
      more = page.more && after !== undefined;
      await nextTurn();
    }
  }

  #key({ notAfterMs, serialNumber }: Ending): string {
    return `${this.#folder}${timeDigits(notAfterMs)}/${serialNumber}`;
  }

  #parse(key: string): Ending | undefined {
    const rest = key.slice(this.#folder.length);
    const seconds = Number(rest.slice(0, TIME_DIGITS));
    if (!Number.isSafeInteger(seconds) || rest[TIME_DIGITS] !== "/") return undefined;
    return { serialNumber: rest.slice(TIME_DIGITS + 1), notAfterMs: seconds * 1000 };
  }
}

function timeDigits(timeMs: number): string {
  return String(Math.max(0, Math.floor(timeMs / 1000))).padStart(TIME_DIGITS, "0");
}
