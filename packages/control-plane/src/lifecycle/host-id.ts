import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { RksError } from "@rk8s/protocol";
import { createDurably, fileError } from "./durable-file.js";

const UUID = /^[0-9a-f-]{36}$/;

/**
 * What tells this vault folder from those of the other control planes of its cluster; made when it is asked for first.
 * @throws {RksError} STORAGE_CORRUPT when the file holds something else, STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function hostId(file: string): Promise<string> {
  try {
    await createDurably(file, `${randomUUID()}\n`, { mode: 0o600 });
  } catch (reason) {
    if (!(reason instanceof RksError) || reason.code !== "ALREADY_EXISTS") throw reason;
  }
  const kept = (
    await readFile(file, "utf8").catch((cause: unknown) => {
      throw fileError(`read the file "${file}"`, cause);
    })
  ).trim();
  if (UUID.test(kept)) return kept;
  throw new RksError("STORAGE_CORRUPT", `the file "${file}" does not hold the id of a control plane`, {
    suggestion: "Remove it; its audit log begins a new chain then.",
  });
}
