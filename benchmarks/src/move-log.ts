/** What rks logs when its vault has moved to the configured store. */
const MOVED = "Store was moved";
const PAUSED = /"?pausedMs"?[=:]\s*"?([\d.]+)/;

/** Reads from the log of an `rks` when its vault has moved. */
export class MoveLog {
  /** Resolves with how long writes were held back for it, in ms. */
  readonly moved: Promise<number>;
  #tell: (pausedMs: number) => void = () => undefined;

  constructor() {
    this.moved = new Promise((resolve) => {
      this.#tell = resolve;
    });
  }

  /** One line of the log. */
  read(line: string): void {
    if (line.includes(MOVED)) this.#tell(Number(PAUSED.exec(line)?.[1]));
  }
}
