/** Tables of one chapter of a Markdown page, each as rows of cells without its head. `heading`: with its marks. */
export function tablesOf(page: string, heading: string): readonly (readonly (readonly string[])[])[] {
  const [, rest = ""] = page.split(`\n${heading}\n`);
  const [own = ""] = rest.split(/^##+ /m);
  const tables = own.split("\n\n").filter((block) => block.trim().startsWith("|"));
  return tables.map((table) => table.trim().split("\n").slice(2).map(cellsOf));
}

/** What stands in backquotes in a cell. */
export function spansOf(cell = ""): readonly string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, span = ""]) => span);
}

/** Flags of a command as its `--help` lists them, but for those of every command. */
export function flagsOfHelp(help: string): readonly string[] {
  const flags = [...help.matchAll(/^ +((?:-\w, )*--[a-z-]+) /gm)].flatMap(([, names = ""]) =>
    names.split(", "),
  );
  return [...new Set(flags)].filter((flag) => flag !== "--help" && flag !== "--version").toSorted();
}

function cellsOf(line: string): readonly string[] {
  return line
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim());
}
