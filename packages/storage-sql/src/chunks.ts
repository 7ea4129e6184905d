/** Rows of one statement; each row is a handful of its parameters. */
const MAX_STATEMENT_ROWS = 500;
/** Bytes of values of one statement, unless a single one is larger. */
export const MAX_STATEMENT_BYTES = 2 * 1024 * 1024;

interface Sized {
  readonly entry_value: Uint8Array | null;
}

/** Divide rows so that no statement becomes larger than a server takes. */
export function* chunksOf<T extends Sized>(rows: readonly T[]): Generator<readonly T[], void, void> {
  let chunk: T[] = [];
  let bytes = 0;
  for (const row of rows) {
    const size = row.entry_value?.byteLength ?? 0;
    const isFull = chunk.length >= MAX_STATEMENT_ROWS || bytes + size > MAX_STATEMENT_BYTES;
    if (chunk.length > 0 && isFull) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(row);
    bytes += size;
  }
  if (chunk.length > 0) yield chunk;
}
