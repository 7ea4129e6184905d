/** Flags that take several values, of `rks ca` and `rks gen`. */
const LISTS: ReadonlySet<string> = new Set(["--force", "--endpoint", "--rks"]);

/**
 * The words with all values of a flag that takes several behind one of its name, at the end: of a flag that is repeated yargs
 * keeps the last one alone, which is right for those that take one value.
 */
export function gatherRepeated(words: readonly string[]): readonly string[] {
  const others: string[] = [];
  const lists = new Map<string, string[]>();
  let values: string[] | undefined;
  for (const word of words) {
    const [flag = ""] = word.split("=", 1);
    if (LISTS.has(flag)) {
      values = lists.get(flag) ?? [];
      lists.set(flag, values);
      if (word.length > flag.length) values.push(word.slice(flag.length + 1));
    } else if (values !== undefined && !word.startsWith("-")) {
      values.push(word);
    } else {
      values = undefined;
      others.push(word);
    }
  }
  return [...others, ...[...lists].flatMap(([flag, given]) => [flag, ...given])];
}
