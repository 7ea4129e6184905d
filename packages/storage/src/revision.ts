import type { Storage } from "./storage.js";

/** No key of ours begins so; the list is asked for its revision only. */
const NO_SUCH_PREFIX = "\u0001none/";

/** The revision that a store is at; nothing is read. @throws {RksError} as `Storage.list`. */
export async function revisionOf(storage: Pick<Storage, "list">): Promise<number> {
  return (await storage.list(NO_SUCH_PREFIX, { limit: 1 })).revision;
}
