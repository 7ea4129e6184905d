import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { RksError } from "@rk8s/protocol";
import { createDurably, errnoOf, fileError } from "./durable-file.js";

const UUID = /^[0-9a-f-]{36}$/;

/**
 * What tells this vault folder from those of the other control planes of its cluster; made when it is asked for first.
 * The folder is to be locked.
 * @throws {RksError} STORAGE_CORRUPT when the file holds something else, STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function hostId(file: string): Promise<string> {
  const kept = (await readKept(file)) ?? (await make(file));
  if (UUID.test(kept)) return kept;
  throw new RksError("STORAGE_CORRUPT", `the file "${file}" does not hold the id of a control plane`, {
    suggestion: "Remove it; where others share the store, the audit log of this rks begins a new chain then.",
  });
}

async function make(file: string): Promise<string> {
  const made = randomUUID();
  await createDurably(file, `${made}\n`, { mode: 0o600 });
  return made;
}

async function readKept(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw fileError(`read the file "${file}"`, cause);
  }
}
