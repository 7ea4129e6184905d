import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { areLargeEnough, type PipeDescriptors } from "./pipe-pair.js";

/**
 * Open two pipes that nobody else can reach: made under names in a private folder that is gone again when this
 * returns. Each end is one descriptor, open both ways, so that a pipe never ends while it is open anywhere.
 * @param folders Tried in order; one that can be written to is enough.
 * @throws the system's error when no folder will do; Error when the pipes are too small.
 */
export function openPipes(folders: readonly string[]): PipeDescriptors {
  let failure: unknown = new Error("no folder was given");
  for (const folder of folders) {
    try {
      return openIn(folder);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

function openIn(parent: string): PipeDescriptors {
  const folder = mkdtempSync(join(parent, "rkl-")); // 0700
  const paths = [join(folder, "a"), join(folder, "b")] as const;
  const opened: number[] = [];
  try {
    execFileSync("mkfifo", ["-m", "600", ...paths], { stdio: "ignore" });
    for (const path of paths) opened.push(openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
    const [first, second] = opened;
    const pair = [first!, second!] as const;
    if (!areLargeEnough(pair)) throw new Error("pipes are too small here: this user has very many");
    return pair;
  } catch (error) {
    for (const descriptor of opened) closeSync(descriptor);
    throw error;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
