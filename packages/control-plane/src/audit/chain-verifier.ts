import { CHAIN_START, type ChainHead, type ChainLink } from "./chain-link.js";
import type { ScannedLine } from "./chain-scan.js";

/** What is wrong with a line, or with what should be before or behind it. */
export interface ChainProblem {
  readonly file: string;
  readonly line: number;
  readonly kind: "changed" | "inserted" | "missing" | "out-of-order";
  readonly message: string;
}

/** How many are told; the rest is only counted. */
const MAX_PROBLEMS = 100;

const NO_RECORD = "this is no record of the chain: it was inserted or changed";

interface Place {
  readonly file: string;
  readonly line: number;
}

interface Record extends Place, ChainLink {
  readonly sha256: string;
}

/**
 * Follows the lines of a chain from file to file and notes where it breaks. Lines before its first record are only
 * counted; from there on every line must be a record with the next number and the hash of the line before it. After a
 * break it goes on with what it found.
 */
export class ChainVerifier {
  readonly problems: ChainProblem[] = [];
  /** Lines from before there was a chain. */
  unchained = 0;
  problemCount = 0;
  #confirmed: ChainHead | undefined;
  #isConfirmed = false;
  #first: Record | undefined;
  #last: Record | undefined;
  #plain: (Place & { readonly sha256: string }) | undefined;
  /** A record whose hash of the line before it does not fit: one of the two was changed, and the next line says which. */
  #doubt: { readonly before: Record; readonly after: Record } | undefined;
  /** The next record is taken as it is. */
  #isLost = false;

  /** `confirmed`: what the writer itself says that it wrote last, asked for before the first line was read. */
  constructor(confirmed?: ChainHead) {
    this.#confirmed = confirmed;
  }

  /** The first record of the chain. */
  get first(): ChainHead | undefined {
    return this.#first;
  }

  /** The last one. */
  get head(): ChainHead | undefined {
    return this.#last;
  }

  /** Whether the writer's last record is the one that was found. */
  get isConfirmed(): boolean {
    return this.#isConfirmed;
  }

  /** The next line. */
  take(file: string, { number: line, sha256, link }: ScannedLine): void {
    if (link === undefined) {
      this.#takePlain({ file, line, sha256 });
      return;
    }
    const record: Record = { file, line, sha256, ...link };
    this.#settle(record);
    const before = this.#last;
    if (before === undefined) this.#begin(record);
    else if (!this.#isLost && !this.#follows(record, before)) return;
    this.#isLost = false;
    this.#last = record;
    this.#compare(record);
  }

  /** There are no more lines. */
  end(): void {
    // The writer's own word on the last line has been heard already.
    if (this.#doubt?.after.sequence === this.#confirmed?.sequence && !this.#isConfirmed)
      this.#doubt = undefined;
    this.#settleAs("before");
    const confirmed = this.#confirmed;
    const last = this.#last;
    if (confirmed === undefined || confirmed.sequence === 0) return;
    const reached = last?.sequence ?? 0;
    if (reached >= confirmed.sequence) return;
    const place = last ?? this.#plain ?? { file: "the audit log", line: 0 };
    this.#report(
      { file: place.file, line: place.line + 1 },
      "missing",
      `records ${reached + 1} to ${confirmed.sequence} are missing at the end`,
    );
  }

  #takePlain(plain: Place & { readonly sha256: string }): void {
    if (this.#last === undefined) {
      this.unchained += 1;
      this.#plain = plain;
      return;
    }
    this.#settle(undefined);
    this.#report(plain, "inserted", NO_RECORD);
    this.#isLost = true;
  }

  #begin(record: Record): void {
    this.#first = record;
    const plain = this.#plain;
    if (plain === undefined || record.previous === plain.sha256) return;
    if (record.sequence === CHAIN_START.sequence + 1) {
      this.#report(plain, "changed", "the last line from before the chain was changed");
    } else if (record.file === plain.file) this.#report(plain, "inserted", NO_RECORD);
    else {
      const missing = `records ${CHAIN_START.sequence + 1} to ${record.sequence - 1}`;
      this.#report(record, "missing", `${missing} are missing before this line`);
    }
  }

  /** Whether to go on from this record. */
  #follows(record: Record, before: Record): boolean {
    const next = before.sequence + 1;
    const { sequence } = record;
    if (record.previous === before.sha256) {
      if (sequence !== next)
        this.#report(record, "changed", `this is record ${sequence} and should be ${next}`);
      return true;
    }
    if (sequence === next) {
      this.#doubt = { before, after: record };
      return true;
    }
    if (sequence > next) {
      const missing = sequence === next + 1 ? `record ${next} is` : `records ${next} to ${sequence - 1} are`;
      this.#report(record, "missing", `${missing} missing before this line`);
      return true;
    }
    this.#report(record, "out-of-order", `record ${sequence} comes after record ${before.sequence}`);
    return false;
  }

  /** Decide which of two lines was changed, when the line after them is there. */
  #settle(next: Record | undefined): void {
    if (this.#doubt === undefined) return;
    const isAfterGood = next === undefined || next.previous === this.#doubt.after.sha256;
    this.#settleAs(isAfterGood ? "before" : "after");
    // What follows a changed line does not fit it, and need not be told again.
    if (!isAfterGood) this.#isLost = true;
  }

  #settleAs(changed: "before" | "after"): void {
    if (this.#doubt === undefined) return;
    const record = this.#doubt[changed];
    this.#doubt = undefined;
    const also = changed === "after" ? `, and perhaps record ${record.sequence - 1}` : "";
    this.#report(record, "changed", `record ${record.sequence} was changed${also}`);
  }

  #compare({ sequence, sha256, file, line }: Record): void {
    if (this.#confirmed?.sequence !== sequence) return;
    if (sha256 === this.#confirmed.sha256) this.#isConfirmed = true;
    else this.#report({ file, line }, "changed", `record ${sequence} is not the one that rks wrote`);
  }

  #report({ file, line }: Place, kind: ChainProblem["kind"], message: string): void {
    this.problemCount += 1;
    if (this.problems.length < MAX_PROBLEMS) this.problems.push({ file, line, kind, message });
  }
}
