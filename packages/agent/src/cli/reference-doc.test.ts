import { readFileSync } from "node:fs";
import { flagsOfHelp, spansOf, tablesOf } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { parseArguments } from "./arguments.js";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");
const PAGE = read("../../../../docs/reference.md");

function flagsIn(cell = ""): readonly string[] {
  return [...cell.matchAll(/`(--?[a-z][a-z-]*)/g)].map(([, flag = ""]) => flag);
}

async function helpOf(command: string): Promise<string> {
  const invocation = await parseArguments([...command.split(" ").slice(1), "--help"]);
  return invocation.type === "print" ? invocation.text : "";
}

/** Every command below one with its flags, as `--help` tells. */
async function commandsBelow(command: string): Promise<[string, readonly string[]][]> {
  const help = await helpOf(command);
  const [, listed] = help.split("\nCommands:\n");
  if (listed === undefined) return [[command, flagsOfHelp(help)]];
  const [own = ""] = listed.split("\n\n");
  const names = own.split(/^ {2}(?=rkl )/m).flatMap((entry) => /^rkl(?: [a-z-]+)*/.exec(entry)?.[0] ?? []);
  return (await Promise.all(names.map((name) => commandsBelow(name)))).flat();
}

/** The command that a row is about: its words up to what stands for something else. */
function commandIn(cell = ""): string {
  return /^rkl(?: (?:pod )?[a-z]+)/.exec(spansOf(cell)[0] ?? "")?.[0] ?? cell;
}

test("docs/reference.md has every command of rkl with its flags, as --help tells them, and no other", async () => {
  const [rows = [], shared = []] = tablesOf(PAGE, "## rkl");
  const common = shared
    .filter(([, , what = ""]) => !what.startsWith("of `rkl"))
    .flatMap(([flag]) => flagsIn(flag));
  const documented = rows.map(([command, cell = ""]): [string, readonly string[]] => {
    const flags = new Set([...(cell.includes("none of those below but") ? [] : common), ...flagsIn(cell)]);
    for (const [, flag = ""] of cell.matchAll(/(?:^|[,;] )no `(--?[a-z-]+)`/g)) flags.delete(flag);
    return [commandIn(command), [...flags].toSorted()];
  });

  const commands = await commandsBelow("rkl");

  expect(commands.length).toBeGreaterThan(10);
  expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(commands));
  expect(documented.length).toBe(commands.length);
});

test("docs/reference.md has every event of an agent with what it carries, and no other", () => {
  const [, body = ""] = read("../agent-events.ts").split("export type AgentEventBody =");
  const [union = ""] = body.split("};\n\n");
  const events = [...union.matchAll(/\{\s*readonly event: "(\w+)"([^}]*)/g)].map(
    ([, name = "", rest = ""]) =>
      [name, [...rest.matchAll(/readonly (\w+)\??:/g)].map(([, field]) => field)] as const,
  );
  const [rows = []] = tablesOf(PAGE, "### Events");
  const fieldsOf = (cell = ""): readonly string[] => {
    const [, other] = /^as `(\w+)`$/.exec(cell) ?? [];
    return spansOf(other === undefined ? cell : rows.find(([name]) => name === `\`${other}\``)?.[1]);
  };

  expect(events.length).toBeGreaterThan(10);
  expect(rows.map(([name]) => spansOf(name)[0])).toEqual(events.map(([name]) => name));
  for (const [index, [, fields]] of events.entries()) {
    expect(fieldsOf(rows[index]?.[1])).toEqual(expect.arrayContaining(fields));
  }
});
