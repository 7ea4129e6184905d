import { open } from "node:fs/promises";
import { resolve } from "node:path";
import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import { STDIN_WORD } from "./flags.js";

export interface InputOptions {
  readonly maxBytes: number;
  /** What it should be, for the message: `a join token`. */
  readonly what: string;
}

/** All text of a file, or of stdin for `-`. @throws {RksError} INPUT_INVALID when it is too long or cannot be read. */
export async function readInput(file: string, io: CliIo, options: InputOptions): Promise<string> {
  const isStdin = file === STDIN_WORD || file === "-";
  const chunks: Uint8Array[] = [];
  let length = 0;
  const name = isStdin ? "stdin" : `"${file}"`;
  try {
    for await (const chunk of isStdin ? io.stdin : fileChunks(resolve(io.cwd, file))) {
      const bytes = Buffer.from(chunk as Uint8Array);
      length += bytes.length;
      if (length > options.maxBytes) {
        throw new RksError("INPUT_INVALID", `${name} holds more than ${options.what} can`, {
          suggestion: `Name the right file; ${options.maxBytes} bytes are allowed.`,
        });
      }
      chunks.push(bytes);
    }
  } catch (cause) {
    if (cause instanceof RksError) throw cause;
    throw new RksError(
      "INPUT_INVALID",
      `cannot read ${options.what} from ${name}: ${(cause as Error).message}`,
      {
        cause,
        suggestion: "Name a readable file.",
      },
    );
  }
  return Buffer.concat(chunks).toString("utf8");
}

async function* fileChunks(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  await using file = await open(path, "r");
  yield* file.createReadStream({ autoClose: false }) as AsyncIterable<Uint8Array>;
}
