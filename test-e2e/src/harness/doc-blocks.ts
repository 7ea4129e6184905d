import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "./process.js";

/** The fenced blocks of a chapter of a page, up to the next heading, in their order, as a reader copies them. @throws Error when the page has no such chapter. */
export async function docBlocks(page: string, chapter: string): Promise<readonly string[]> {
  const text = await readFile(join(ROOT, page), "utf8");
  const [, body] = text.split(new RegExp(`^##+ ${chapter}$`, "m"));
  if (body === undefined) throw new Error(`${page} has no chapter "${chapter}"`);
  const [own = ""] = body.split(/^##+ /m);
  return [...own.matchAll(/^```(?:sh|yaml)\n(.*?)^```$/gms)].map(([, block = ""]) => block);
}

/**
 * A block of commands once for each place that its first line names: `NAME=two PORT=1   # then NAME=three PORT=2, and …`
 */
export function eachPlace(block: string): readonly string[] {
  const [first = "", ...rest] = block.split("\n");
  const [own = "", others = ""] = first.split(/ +# then /);
  const places = others.split(/, and /).map((changes) => {
    const changed = changes.split(" ").map((change) => change.split("=") as [string, string]);
    return changed.reduce(
      (line, [name, value]) => line.replace(new RegExp(`${name}=\\S+`), `${name}=${value}`),
      own,
    );
  });
  return [own, ...places].map((line) => [line, ...rest].join("\n"));
}
