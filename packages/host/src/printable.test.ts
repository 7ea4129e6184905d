import { expect, test } from "vitest";
import { printable } from "./printable.js";

test.each([
  { name: "an escape sequence", text: "a\u001b[2Jb", shown: "a\uFFFD[2Jb" },
  { name: "a C1 control", text: "a\u009bb", shown: "a\uFFFDb" },
  { name: "a carriage return", text: "a\rb", shown: "a\uFFFDb" },
  { name: "tabs, line ends and letters of any kind", text: "a\tb\nß 名", shown: "a\tb\nß 名" },
])("$name is shown harmlessly", ({ text, shown }) => {
  expect(printable(text)).toBe(shown);
});
