import { readSync } from "node:fs";
import { isatty } from "node:tty";

/** A token has 107 characters; what is cut off here is too long for the worker still. */
const MAX_BYTES = 4097;
/** Pause before a descriptor that does not block is asked again. */
const LOOK_AGAIN_MS = 10;

/**
 * What was given on stdin, which can be read only once: every worker gets it, because one may be killed when it has just read
 * it. Forgotten when a worker needs it no more.
 */
export class KeptInput {
  #bytes: Buffer | undefined;

  private constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /**
   * Read a descriptor to its end, without a turn of the event loop; whoever waits for a writer is ended by any signal.
   * Undefined when the command line does not ask for it, for a terminal, where a person can type it again, and for what cannot
   * be read: the worker says why.
   */
  static read(
    argv: readonly string[],
    env: Readonly<Record<string, string | undefined>>,
    descriptor = 0,
  ): KeptInput | undefined {
    if (!isTokenOnStdin(argv, env) || isatty(descriptor)) return undefined;
    const buffer = Buffer.alloc(MAX_BYTES);
    let length = 0;
    try {
      while (length < buffer.length) {
        const count = readSome(descriptor, buffer.subarray(length));
        if (count === 0) break;
        length += count;
      }
    } catch {
      buffer.fill(0);
      return undefined;
    }
    return new KeptInput(buffer.subarray(0, length));
  }

  /** A copy, which the caller overwrites; empty when it was forgotten. */
  copy(): Buffer {
    return Buffer.from(this.#bytes ?? []);
  }

  /** Overwrite it. */
  forget(): void {
    this.#bytes?.fill(0);
    this.#bytes = undefined;
  }
}

/** The one thing about a command line that a supervisor knows; a lone dash means nothing else there. */
function isTokenOnStdin(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): boolean {
  if (argv.some((word) => word === "-" || word.endsWith("=-"))) return true;
  const isGiven = Boolean(env["JOIN_TOKEN"]) || argv.some((word) => word.startsWith("--join"));
  return env["JOIN_TOKEN_FILE"] === "-" && !isGiven;
}

function readSome(descriptor: number, into: Uint8Array): number {
  for (;;) {
    try {
      return readSync(descriptor, into, 0, into.length, null);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_AGAIN_MS);
    }
  }
}
