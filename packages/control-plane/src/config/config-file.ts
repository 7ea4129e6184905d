import { open, readFile, stat } from "node:fs/promises";
import { RksError } from "@rk8s/protocol";
import { parseConfig, type ParsedConfig } from "./parse-config.js";
import { SAMPLE_CONFIG } from "./sample-config.js";

/** A config is two kilobytes; whoever points at something huge has mistyped the path. */
const MAX_CONFIG_BYTES = 1_048_576;

/**
 * Read and check a config file.
 * @throws {RksError} CONFIG_INVALID when it cannot be read or says something wrong.
 */
export async function readConfig(file: string): Promise<ParsedConfig> {
  return parseConfig(await readText(file), file);
}

/**
 * Write the commented sample config.
 * @throws {RksError} ALREADY_EXISTS when there is anything at `file`; STORAGE_UNWRITABLE when it cannot be written.
 */
export async function writeSampleConfig(file: string): Promise<void> {
  try {
    await using handle = await open(file, "wx", 0o644);
    await handle.writeFile(SAMPLE_CONFIG);
  } catch (cause) {
    if (hasCode(cause, "EEXIST")) {
      throw new RksError("ALREADY_EXISTS", `"${file}" exists already and is left as it is`, {
        suggestion: "Choose another file name or move the old file away.",
      });
    }
    throw new RksError("STORAGE_UNWRITABLE", `cannot write "${file}": ${reasonOf(cause)}`, {
      cause,
      suggestion: "Choose a file in an existing folder that you may write to.",
    });
  }
}

async function readText(file: string): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size > MAX_CONFIG_BYTES) {
      throw new RksError("CONFIG_INVALID", `"${file}" has ${size} bytes; that is no config file`);
    }
    return await readFile(file, "utf8");
  } catch (cause) {
    if (cause instanceof RksError) throw cause;
    throw new RksError("CONFIG_INVALID", `cannot read the config file "${file}": ${reasonOf(cause)}`, {
      cause,
      suggestion: hasCode(cause, "ENOENT")
        ? `Write one with \`rks config init ${file}\`, or name another with --config FILE.`
        : "Name a readable file with --config FILE.",
    });
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/, \w+ '.*$/s, "").toLowerCase() : "unknown reason";
}
