import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CLOSE_CODES } from "./close-codes.js";
import { ERROR_CODES } from "./errors.js";
import { LIMITS } from "./limits.js";
import { MESSAGE_SCHEMAS } from "./message.js";

const page = readFileSync(new URL("../SPEC.md", import.meta.url), "utf8");

/** Cells of the table's rows in one section of the page. */
function rows(section: string): string[][] {
  const [, after = ""] = page.split(`\n## ${section}`);
  const [body = ""] = after.split("\n## ");
  return body
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) => line.split("|").map((cell) => cell.trim()));
}

test("SPEC.md lists every error with its properties, and no other", () => {
  const listed = rows("13. Errors")
    .slice(2)
    .map((cells) => cells.slice(1, 5));
  expect(listed).toEqual(
    Object.entries(ERROR_CODES).map(([code, { retryable, http, exit }]) => [
      code,
      retryable ? "yes" : "no",
      String(http),
      String(exit),
    ]),
  );
});

test("SPEC.md lists every close code, and no other", () => {
  const listed = rows("14. Ends")
    .slice(2)
    .map(([, code, name]) => [name, Number(code)]);
  expect(listed).toEqual(Object.entries(CLOSE_CODES));
});

test("SPEC.md lists every limit, and no other", () => {
  const listed = rows("15. Limits")
    .slice(2)
    .map(([, name, value]) => [name, Number(value?.replaceAll(",", ""))]);
  expect(listed).toEqual(Object.entries(LIMITS));
});

test.each(Object.keys(MESSAGE_SCHEMAS))("SPEC.md describes %s", (type) => {
  expect(page).toContain(`**${type}**`);
});
