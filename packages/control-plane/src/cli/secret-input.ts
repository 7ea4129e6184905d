import { readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";

/** 255 shares are 24 KB. */
const MAX_SECRET_BYTES = 65_536;

/** All of stdin as text. @throws {RksError} INPUT_INVALID when it is longer than `maxBytes`: than any secret. */
export async function readStdin(io: CliIo, maxBytes = MAX_SECRET_BYTES): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of io.stdin) {
    const bytes = Buffer.from(chunk as Uint8Array);
    length += bytes.length;
    if (length > maxBytes) throw new RksError("INPUT_INVALID", `stdin holds more than ${maxBytes} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** A small file with a secret. @throws {RksError} INPUT_INVALID when it cannot be read or is longer than `maxBytes`. */
export async function readSecretFile(file: string, io: CliIo, maxBytes = MAX_SECRET_BYTES): Promise<string> {
  const path = resolve(io.cwd, file);
  try {
    if ((await stat(path)).size > maxBytes) {
      throw new RksError("INPUT_INVALID", `"${file}" holds more than ${maxBytes} bytes`);
    }
    return await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof RksError) throw cause;
    throw new RksError("INPUT_INVALID", `cannot read "${file}"`, {
      cause,
      suggestion: "Name a readable file.",
    });
  }
}
