/** Longer lines are given in pieces: output without a line end must not fill the memory. */
const MAX_LINE_CHARACTERS = 65_536;

/** Takes text as it arrives and gives whole lines, without their ends. */
export class LineSplitter {
  readonly #onLine: (line: string) => void;
  #rest = "";

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#onLine(line);
    while (this.#rest.length > MAX_LINE_CHARACTERS) {
      this.#onLine(this.#rest.slice(0, MAX_LINE_CHARACTERS));
      this.#rest = this.#rest.slice(MAX_LINE_CHARACTERS);
    }
  }

  /** No more will come: what is left is a line, too. */
  end(): void {
    if (this.#rest !== "") this.#onLine(this.#rest);
    this.#rest = "";
  }
}
