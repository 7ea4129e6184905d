/** Texts of which the longest that begins a given one is found without trying them all. */
export class PrefixList<Value> {
  /** In order of their characters. */
  readonly #texts: readonly string[];
  readonly #values: readonly Value[];
  /** For each text the longest other one that begins it, or -1. */
  readonly #parents: readonly number[];

  /** No text twice. */
  constructor(entries: Iterable<readonly [text: string, value: Value]>) {
    const sorted = [...entries].toSorted(([a], [b]) => (a < b ? -1 : 1));
    this.#texts = sorted.map(([text]) => text);
    this.#values = sorted.map(([, value]) => value);
    const open: number[] = [];
    this.#parents = this.#texts.map((text, index) => {
      while (open.length > 0 && !text.startsWith(this.#texts[open.at(-1) ?? 0] ?? "")) open.pop();
      const parent = open.at(-1) ?? -1;
      open.push(index);
      return parent;
    });
  }

  /** The value of the longest text that `whole` begins with. */
  longest(whole: string): Value | undefined {
    // Whatever begins `whole` is not behind it in order, and the nearest before it begins with it or is it.
    let low = 0;
    let high = this.#texts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#texts[middle] ?? "") <= whole) low = middle + 1;
      else high = middle;
    }
    for (let index = low - 1; index >= 0; index = this.#parents[index] ?? -1) {
      if (whole.startsWith(this.#texts[index] ?? "")) return this.#values[index];
    }
    return undefined;
  }
}
