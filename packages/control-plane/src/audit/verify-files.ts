import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { RksError } from "@rk8s/protocol";
import type { ChainHead } from "./chain-link.js";
import { ChainScan, type ScannedLine } from "./chain-scan.js";
import { type ChainProblem, ChainVerifier } from "./chain-verifier.js";

const PIECE_BYTES = 256 * 1024;

/** What was found in one file. */
interface VerifiedFile {
  readonly file: string;
  readonly lines: number;
  /** Numbers of its first and last record; null: it has none. */
  readonly first: number | null;
  readonly last: number | null;
  /** Behind the last newline: a line that is being written, or that a killed process did not end. */
  readonly unfinishedBytes: number;
}

/** What was found in all. */
export interface Verification {
  readonly isGood: boolean;
  /** In the order of their records. */
  readonly files: readonly VerifiedFile[];
  /** Lines from before there was a chain. */
  readonly unchained: number;
  readonly problems: readonly ChainProblem[];
  readonly problemCount: number;
  readonly head: ChainHead | null;
  /** Whether the writer's own last record was found. */
  readonly isConfirmed: boolean;
}

/**
 * Follow the chain of records through files of any size, of which little is in memory at a time; a name that ends in
 * `.gz` is decompressed. Their order is found out. `confirmed` is what the writer says that it wrote last.
 * @throws {RksError} NOT_FOUND, INPUT_INVALID for a file that cannot be read.
 */
export async function verifyFiles(
  files: readonly string[],
  confirmed: ChainHead | undefined,
  options: { readonly signal?: AbortSignal } = {},
): Promise<Verification> {
  const verifier = new ChainVerifier(confirmed);
  const verified: VerifiedFile[] = [];
  for (const file of await inOrder(files)) verified.push(await verifyFile(file, verifier, options));
  verifier.end();
  const { problems, problemCount, unchained, head = null, isConfirmed } = verifier;
  return {
    isGood: problemCount === 0,
    files: verified,
    unchained,
    problems,
    problemCount,
    head: head === null ? null : { sequence: head.sequence, sha256: head.sha256 },
    isConfirmed,
  };
}

async function verifyFile(
  file: string,
  verifier: ChainVerifier,
  { signal }: { readonly signal?: AbortSignal },
): Promise<VerifiedFile> {
  const scan = new ChainScan();
  let [lines, first, last] = [0, null as number | null, null as number | null];
  await eachPiece(file, (piece) => {
    for (const line of scan.take(piece)) {
      lines = line.number;
      first ??= line.link?.sequence ?? null;
      last = line.link?.sequence ?? last;
      verifier.take(file, line);
    }
    signal?.throwIfAborted();
    return true;
  });
  return { file, lines, first, last, unfinishedBytes: scan.unfinishedBytes };
}

/** Rotated files are usually named newest first. */
async function inOrder(files: readonly string[]): Promise<readonly string[]> {
  const begun = await Promise.all(files.map(async (file) => ({ file, first: await firstRecord(file) })));
  return begun.toSorted((a, b) => a.first - b.first).map(({ file }) => file);
}

/** The number of a file's first record; what has none comes before all that have. */
async function firstRecord(file: string): Promise<number> {
  const scan = new ChainScan();
  let found: ScannedLine | undefined;
  await eachPiece(file, (piece) => {
    found = scan.take(piece).find(({ link }) => link !== undefined);
    return found === undefined;
  });
  return found?.link?.sequence ?? 0;
}

/** Read a file until `take` says that it is enough. */
async function eachPiece(file: string, take: (piece: Buffer) => boolean): Promise<void> {
  const raw = createReadStream(file, { highWaterMark: PIECE_BYTES });
  const pieces: Readable = file.endsWith(".gz") ? raw.pipe(createGunzip()) : raw;
  raw.once("error", (error) => pieces.destroy(error));
  try {
    for await (const piece of pieces) if (!take(piece as Buffer)) return;
  } catch (cause) {
    if (!(cause instanceof Error) || !("code" in cause)) throw cause;
    const isMissing = cause.code === "ENOENT";
    throw new RksError(
      isMissing ? "NOT_FOUND" : "INPUT_INVALID",
      isMissing ? `there is no file "${file}"` : `"${file}" cannot be read (${String(cause.code)})`,
      { cause, suggestion: "Name the files of an audit log that you may read." },
    );
  } finally {
    raw.destroy();
  }
}
