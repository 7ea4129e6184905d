import { expect, test } from "vitest";
import { gatherRepeated } from "./repeated-flags.js";

test.each([
  ["ca retire --force a --force b", "ca retire --force a b"],
  ["ca retire --force a b --json --force=c", "ca retire --json --force a b c"],
  ["ca retire --force a b", "ca retire --force a b"],
  ["gen xline-certs --endpoint=https://a:1 --rks two --endpoint https://b:1?x=1 --rks three", ""],
  ["ca retire --config c.yaml --force a -c d.yaml", "ca retire --config c.yaml -c d.yaml --force a"],
  ["ca retire --force", "ca retire --force"],
  ["ca retire --force --json", "ca retire --json --force"],
])("%s", (line, expected) => {
  const all = "gen xline-certs --endpoint https://a:1 https://b:1?x=1 --rks two three";
  expect(gatherRepeated(line.split(" ")).join(" ")).toBe(expected || all);
});
