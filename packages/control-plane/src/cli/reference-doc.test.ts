import { readFileSync } from "node:fs";
import { flagsOfHelp, spansOf, tablesOf } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { KNOWN_KEYS } from "../config/config-schema.js";
import { parseArguments } from "./arguments.js";
import { isVaultVerb } from "./vault/vault-commands.js";

const PAGE = readFileSync(new URL("../../../../docs/reference.md", import.meta.url), "utf8");
/** Of the vault's verb `audit`, what is about the cluster's own log; the other verbs have docs/vault-cli.md. */
const OWN_AUDIT = ["rks audit tail", "rks audit verify"];

/** `rks a b X`, `c` are `rks a b` and `rks a c`; `d e` behind them is `rks d e`. */
function commandsIn(cell = ""): readonly string[] {
  const [first = [], ...others] = spansOf(cell).map((span) =>
    /^(?:[a-z-]+ ?)+/.exec(span)![0].trim().split(" "),
  );
  const prefixOf = (words: readonly string[]): readonly string[] =>
    first.slice(0, first.length - words.length);
  return [first, ...others.map((words) => [...prefixOf(words), ...words])].map((words) => words.join(" "));
}

/** The flags of a row: those of all commands, those that it names, without those of which it says `no`. */
function flagsIn([, https = "", cell = ""]: readonly string[]): readonly string[] {
  const flags = new Set([
    "--json",
    "--config",
    "-c",
    "--socket",
    ...(https === "yes" ? ["--token-file"] : []),
  ]);
  for (const [, flag = ""] of cell.matchAll(/`(--?[a-z][a-z-]*)/g)) flags.add(flag);
  for (const [, flag = ""] of cell.matchAll(/(?:^|[,;] )no `(--?[a-z-]+)`/g)) flags.delete(flag);
  if (!flags.has("--config")) flags.delete("-c");
  return [...flags].toSorted();
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
  const found: [string, readonly string[]][] = [];
  for (const entry of own.split(/^ {2}(?=rks )/m).slice(1)) {
    const name = /^[a-z-]+(?: [a-z-]+)*/.exec(entry)![0];
    if (isVaultVerb(name.split(" ")[1]) && name !== "rks audit" && !OWN_AUDIT.includes(name)) continue;
    const below = await commandsBelow(name);
    const aliases = /\[aliases: ([a-z-]+)\]/.exec(entry)?.slice(1) ?? [];
    found.push(
      ...below,
      ...aliases.map((alias): [string, readonly string[]] => [`${command} ${alias}`, below[0]![1]]),
    );
  }
  return found;
}

test("docs/reference.md has every command of rks with its flags, as --help tells them, and no other", async () => {
  const documented = tablesOf(PAGE, "## rks")
    .flat()
    .flatMap((row) => commandsIn(row[0]).map((name) => [name, flagsIn(row)]));

  const commands = await commandsBelow("rks");

  expect(commands.length).toBeGreaterThan(30);
  expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(commands));
  expect(documented.length).toBe(commands.length);
});

test("docs/reference.md has every key of the config, and no other", () => {
  const documented = tablesOf(PAGE, "## The config of rks")
    .flat()
    .flatMap(([keys]) => spansOf(keys));

  const { "": top = [], ...sections } = KNOWN_KEYS;
  const scalars = top.filter((key) => sections[key] === undefined);
  const inSections = Object.entries(sections).flatMap(([section, keys]) =>
    keys.map((key) => `${section}.${key}`),
  );
  const known = [...scalars, ...inSections].map((key) =>
    key.replace(/^network_config\..*/, "network_config.…"),
  );
  expect(documented.toSorted()).toEqual([...new Set(known)].toSorted());
});
