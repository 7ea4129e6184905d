import { createHash } from "node:crypto";

/** A place in a chain of records: the number of one and the hash of its line. */
export interface ChainHead {
  readonly sequence: number;
  /** SHA-256 over the line's bytes without its newline; hexadecimal digits. */
  readonly sha256: string;
}

/** What a record says of its place: its own number, and the hash of the line before it. */
export interface ChainLink {
  readonly sequence: number;
  readonly previous: string;
}

/** Before the first record of all. */
export const CHAIN_START: ChainHead = { sequence: 0, sha256: "0".repeat(64) };

/** No link is longer; it is always at the very end of its line. */
export const MAX_LINK_BYTES = 128;

const LINK = /,"chain":\{"seq":([1-9]\d{0,14}),"prev":"([0-9a-f]{64})"\}\}$/;

/** Put a JSON object's line, without newline, behind the head of a chain. */
export function linkLine(line: string, head: ChainHead): { readonly line: string; readonly head: ChainHead } {
  if (!line.endsWith("}")) throw new TypeError("a record of the audit log is a JSON object");
  const sequence = head.sequence + 1;
  const linked = `${line.slice(0, -1)},"chain":{"seq":${sequence},"prev":"${head.sha256}"}}`;
  return { line: linked, head: { sequence, sha256: sha256Of(linked) } };
}

/** Read the link at the end of a line, of which the last `MAX_LINK_BYTES` are enough; undefined when there is none. */
export function linkOf(end: Uint8Array): ChainLink | undefined {
  const { buffer, byteOffset, length } = end;
  // Byte by byte: a line may hold anything, and only its end is looked at.
  const match = LINK.exec(Buffer.from(buffer, byteOffset, length).toString("latin1"));
  return match === null ? undefined : { sequence: Number(match[1]), previous: match[2] ?? "" };
}

/** Of a line without its newline. */
function sha256Of(line: string | Uint8Array): string {
  return createHash("sha256").update(line).digest("hex");
}
