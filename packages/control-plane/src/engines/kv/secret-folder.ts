import type { Storage } from "@rk8s/storage";
import { z } from "zod";

import type { Answer } from "../../vault/backend.js";
import { integer, text } from "../../vault/field-types.js";

/** Entries come with their values, up to 1.5 MB each; few at a time keeps the memory of a listing small. */
const PAGE_ENTRIES = 64;
/** Names in one answer; whoever has more pages on with `after`. */
const MAX_NAMES = 100_000;
/** Sorts after everything that can follow it in a path. */
const HIGHEST = "\u{10ffff}";

/** Fields of a listing, as OpenBao has them. */
export const folderFields = z.object({ after: text(""), limit: integer(0) });

export interface FolderRange {
  /** Names up to and with this one are left out. */
  readonly after: string;
  /** 0 or less: all. */
  readonly limit: number;
}

/**
 * List what lies directly in a folder, in order, folders with a trailing slash. Nothing there: undefined.
 * @param prefix of the storage under which all secrets lie, with trailing slash
 */
export async function listFolder(
  storage: Storage,
  prefix: string,
  folder: string,
  range: FolderRange,
): Promise<Answer | undefined> {
  return answer(await namesBelow(storage, folderPrefix(prefix, folder), range, false));
}

/** List everything below a folder, in order, as paths relative to it. Nothing there: undefined. */
export async function scanFolder(
  storage: Storage,
  prefix: string,
  folder: string,
  range: FolderRange,
): Promise<Answer | undefined> {
  return answer(await namesBelow(storage, folderPrefix(prefix, folder), range, true));
}

function folderPrefix(prefix: string, folder: string): string {
  return folder === "" ? prefix : `${prefix}${folder}/`;
}

interface Names {
  readonly keys: readonly string[];
  /** Whether there are more than one answer may have. */
  readonly isCut: boolean;
}

async function namesBelow(
  storage: Storage,
  prefix: string,
  { after: afterName, limit }: FolderRange,
  isDeep: boolean,
): Promise<Names> {
  const most = limit > 0 ? Math.min(limit, MAX_NAMES) : MAX_NAMES;
  const keys: string[] = [];
  let after = afterName === "" ? prefix : beyond(prefix, afterName);
  for (;;) {
    const page = await storage.list(prefix, { after, limit: PAGE_ENTRIES });
    for (const { key } of page.entries) {
      const name = isDeep ? key.slice(prefix.length) : nameIn(prefix, key);
      if (name === keys.at(-1)) continue;
      if (keys.length === most) return { keys, isCut: most !== limit };
      keys.push(name);
    }
    const last = page.entries.at(-1);
    if (!page.more || last === undefined) return { keys, isCut: false };
    after = isDeep ? last.key : beyond(prefix, nameIn(prefix, last.key));
  }
}

function nameIn(prefix: string, key: string): string {
  const slash = key.indexOf("/", prefix.length);
  return key.slice(prefix.length, slash === -1 ? undefined : slash + 1);
}

/** The last key that a name can stand for: its own, or that of everything in the folder. */
function beyond(prefix: string, name: string): string {
  return prefix + name + (name.endsWith("/") ? HIGHEST : "");
}

function answer({ keys, isCut }: Names): Answer | undefined {
  if (keys.length === 0) return undefined;
  if (!isCut) return { data: { keys } };
  const warning = `only the first ${MAX_NAMES} names are listed; ask again with "after" set to the last one`;
  return { data: { keys }, warnings: [warning] };
}
