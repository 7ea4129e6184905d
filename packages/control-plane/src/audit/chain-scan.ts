import { createHash } from "node:crypto";
import { type ChainLink, linkOf, MAX_LINK_BYTES } from "./chain-link.js";

const NEWLINE = 0x0a;

/** A line as the chain sees it. */
export interface ScannedLine {
  /** From 1 on, in its file. */
  readonly number: number;
  readonly sha256: string;
  /** Undefined: the line says nothing of a chain. */
  readonly link: ChainLink | undefined;
}

/** Reads the links of lines that come in pieces. Of a line of any length only its hash and its end are kept. */
export class ChainScan {
  #lines = 0;
  #hash = createHash("sha256");
  #end: Buffer = Buffer.alloc(0);
  #unfinishedBytes = 0;

  /** Bytes after the last newline. */
  get unfinishedBytes(): number {
    return this.#unfinishedBytes;
  }

  /** The lines that end in the next piece. */
  take(piece: Buffer): readonly ScannedLine[] {
    const lines: ScannedLine[] = [];
    let at = 0;
    for (let newline = piece.indexOf(NEWLINE); newline >= 0; newline = piece.indexOf(NEWLINE, at)) {
      this.#add(piece.subarray(at, newline));
      lines.push(this.#finish());
      at = newline + 1;
    }
    this.#add(piece.subarray(at));
    return lines;
  }

  #add(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#hash.update(bytes);
    this.#unfinishedBytes += bytes.length;
    // A copy: the piece may be reused for the next one.
    this.#end = Buffer.concat([this.#end, bytes.subarray(-MAX_LINK_BYTES)]).subarray(-MAX_LINK_BYTES);
  }

  #finish(): ScannedLine {
    this.#lines += 1;
    const line = { number: this.#lines, sha256: this.#hash.digest("hex"), link: linkOf(this.#end) };
    this.#hash = createHash("sha256");
    this.#end = Buffer.alloc(0);
    this.#unfinishedBytes = 0;
    return line;
  }
}
