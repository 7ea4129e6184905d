import type { Storage } from "@rk8s/storage";

const PAGE = 1000;
/** Sorts after everything below a folder. */
const LAST = "\u{10ffff}";

/**
 * The names right below a prefix of the store, in order; what has more below it ends with a slash and is looked into no
 * further.
 */
export async function listFolder(storage: Storage, prefix: string): Promise<string[]> {
  const names = new Set<string>();
  for (let after: string | undefined, more = true; more;) {
    const page = await storage.list(prefix, { limit: PAGE, ...(after === undefined ? {} : { after }) });
    let folder = "";
    for (const { key } of page.entries) {
      const rest = key.slice(prefix.length);
      if (folder !== "" && rest.startsWith(folder)) continue;
      const slash = rest.indexOf("/");
      folder = slash === -1 ? "" : rest.slice(0, slash + 1);
      names.add(slash === -1 ? rest : folder);
    }
    const last = page.entries.at(-1)?.key;
    after = folder === "" ? last : prefix + folder + LAST;
    more = page.more && last !== undefined;
  }
  return [...names];
}
