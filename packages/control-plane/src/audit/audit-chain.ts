import type { Clock, Logger } from "@rk8s/protocol";
import { CHAIN_START, type ChainHead, linkLine } from "./chain-link.js";
import { ChainScan } from "./chain-scan.js";

/**
 * Of a file's end that is looked at to find its last record; records that were not remembered yet are in there. The
 * second is for a store that could not be written for long, or for lines of extraordinary length.
 */
export const RESUME_BYTES = [4 * 1024 * 1024, 64 * 1024 * 1024] as const;
/** Of lines whose head was not remembered: a part of what is looked at. */
const MAX_UNSAVED_BYTES = 1024 * 1024;

/** Where the head of a chain is kept, out of reach of who can write the file. */
export interface HeadStore {
  load(): Promise<ChainHead | undefined>;
  save(head: ChainHead): Promise<void>;
}

export interface AuditChainPorts {
  readonly heads: HeadStore;
  readonly logger: Logger;
  /** How long to rest after the head was remembered, where the store has more to do. Default: not at all. */
  readonly rest?: { readonly ms: number; readonly clock: Pick<Clock, "sleep"> } | undefined;
}

/** What did not fit when a chain was taken up again: the head that was remembered is not in the file. */
export interface LostHead {
  readonly remembered: number;
  /** Number of the last record of the file; 0: it has none. */
  readonly found: number;
}

/**
 * The writer's end of a chain of records. Its head moves when lines are on disk, and is remembered in a store shortly
 * after: what the file lost or got since is found by comparing the two.
 */
export class AuditChain {
  readonly #ports: AuditChainPorts;
  #head: ChainHead | undefined;
  #saved: ChainHead | undefined;
  #saving: Promise<void> | undefined;
  #isFailing = false;
  #unsavedBytes = 0;
  /** Aborted when the head is to be remembered without rest. */
  #resting = new AbortController();
  #isHurried = false;
  #isEnding = false;

  constructor(ports: AuditChainPorts) {
    this.#ports = ports;
  }

  /** Of the last record on disk; undefined before `resume`. */
  get head(): ChainHead | undefined {
    return this.#head;
  }

  get isResumed(): boolean {
    return this.#head !== undefined;
  }

  /**
   * Take up the chain where it ended, given the end of the file. Records behind the remembered head are its
   * continuation if they fit: a killed process had no time to remember them. Of a file without any record, which was
   * moved away meanwhile, the chain goes on in the next one. Tells when the remembered head is not in a file with records.
   * @throws {RksError} as the store does.
   */
  async resume(end: Buffer, isWhole: boolean): Promise<LostHead | undefined> {
    const remembered = await this.#ports.heads.load();
    const scanned = new ChainScan().take(end);
    // The first line of a piece of a file is the end of one.
    const lines = isWhole ? scanned : scanned.slice(1);
    const last = lines.at(-1);
    const found = last?.link?.sequence ?? 0;
    if (remembered === undefined) {
      this.#head = last === undefined ? CHAIN_START : { sequence: found, sha256: last.sha256 };
      return undefined;
    }
    this.#saved = remembered;
    const at = lines.findIndex(
      ({ link, sha256 }) => link?.sequence === remembered.sequence && sha256 === remembered.sha256,
    );
    let head = remembered;
    for (const { link, sha256 } of at < 0 ? [] : lines.slice(at + 1)) {
      if (link?.sequence !== head.sequence + 1 || link.previous !== head.sha256) break;
      head = { sequence: link.sequence, sha256 };
    }
    this.#head = head;
    const isAccountedFor = lines.length === 0 || (at >= 0 && head.sequence === found);
    return isAccountedFor ? undefined : { remembered: head.sequence, found };
  }

  /** The lines, each with its newline, behind the head; and what is to be told once they are on disk. */
  link(lines: string): { readonly lines: string; readonly written: () => void } {
    let head = this.#head ?? CHAIN_START;
    const linked = lines
      .split("\n")
      .slice(0, -1)
      .map((line) => {
        const next = linkLine(line, head);
        head = next.head;
        return `${next.line}\n`;
      });
    const all = linked.join("");
    return {
      lines: all,
      written: () => {
        this.#head = head;
        this.#unsavedBytes += all.length;
        if (this.#unsavedBytes > MAX_UNSAVED_BYTES) this.#resting.abort();
        this.#saving ??= this.#save();
      },
    };
  }

  /** Resolves when the head is remembered, or cannot be. From now on that is done without rest. */
  async settled(): Promise<void> {
    this.#isEnding = true;
    await this.caughtUp();
  }

  /** Resolves when the head is remembered, or cannot be. No lines are to be linked meanwhile. */
  async caughtUp(): Promise<void> {
    this.#isHurried = true;
    this.#resting.abort();
    await this.#saving;
    this.#isHurried = false;
  }

  /** One write at a time; what moved meanwhile is in the next. */
  async #save(): Promise<void> {
    const { heads, logger } = this.#ports;
    try {
      while (this.#head !== undefined && this.#saved?.sequence !== this.#head.sequence) {
        const head = this.#head;
        this.#unsavedBytes = 0;
        await heads.save(head);
        this.#saved = head;
        await this.#rest();
      }
      this.#isFailing = false;
    } catch (cause) {
      if (!this.#isFailing) logger.warn("Head of the audit log cannot be remembered", { cause });
      this.#isFailing = true;
    } finally {
      this.#saving = undefined;
    }
  }

  async #rest(): Promise<void> {
    const { rest } = this.#ports;
    if (rest === undefined || this.#isHurried || this.#isEnding) return;
    if (this.#unsavedBytes > MAX_UNSAVED_BYTES) return;
    this.#resting = new AbortController();
    await rest.clock.sleep(rest.ms, { signal: this.#resting.signal }).catch(() => undefined);
  }
}
