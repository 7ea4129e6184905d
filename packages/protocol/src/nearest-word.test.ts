import fc from "fast-check";
import { expect, test } from "vitest";
import { nearestWord } from "./nearest-word.js";

test.each([
  { name: "a letter missing", word: "dat-dir", nearest: "data-dir" },
  { name: "neighbours swapped", word: "tial", nearest: "tail" },
  { name: "another case and separator", word: "DATA_DIR", nearest: "data-dir" },
  { name: "nothing near", word: "frobnicate", nearest: undefined },
  { name: "nothing at all", word: "", nearest: undefined },
])("$name", ({ word, nearest }) => {
  expect(nearestWord(word, ["data-dir", "tail", "namespace"])).toBe(nearest);
});

test("of equally near words the first is meant, of none there is none", () => {
  expect(nearestWord("pod", ["pods", "podx"])).toBe("pods");
  expect(nearestWord("pod", [])).toBeUndefined();
});

test("a word is nearest to itself, whatever else there is", () => {
  fc.assert(
    fc.property(
      fc.stringMatching(/^[a-z]{1,20}$/),
      fc.array(fc.stringMatching(/^[a-z]{1,20}$/)),
      (word, others) => {
        expect(nearestWord(word, [...others, word])).toBe(word);
      },
    ),
  );
});
