import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ERROR_CODES } from "./errors.js";

test("docs/errors.md lists every code with its exit status, and no other", () => {
  const page = readFileSync(new URL("../../../docs/errors.md", import.meta.url), "utf8");
  const rows = page
    .split("\n")
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .filter((cells) => /^[A-Z_]{3,}$/.test(cells[1] ?? ""));

  const documented = rows.map((cells) => [cells[1], cells[3], Number(cells[4]), Number(cells[5])]);

  expect(documented).toEqual(
    Object.entries(ERROR_CODES).map(([code, { retryable, exit, http }]) => [
      code,
      retryable ? "yes" : "no",
      exit,
      http,
    ]),
  );
});
