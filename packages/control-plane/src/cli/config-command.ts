import { resolve } from "node:path";
import type { CliIo } from "@rk8s/host/cli-io";
import { writeSampleConfig } from "../config/config-file.js";
import { printHint, printJson } from "./output.js";

/** `rks config init [FILE]`. @throws {RksError} ALREADY_EXISTS, STORAGE_UNWRITABLE. */
export async function configInit(
  args: { readonly file: string; readonly json: boolean },
  io: CliIo,
): Promise<void> {
  const file = resolve(io.cwd, args.file);
  await writeSampleConfig(file);
  if (args.json) printJson(io, { config: file });
  else io.stdout(`${file}\n`);
  io.stderr(`wrote ${file}\n`);
  printHint(io, `next: rks gen certs --config ${args.file}`);
}
