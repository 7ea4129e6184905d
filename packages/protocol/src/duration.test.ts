import fc from "fast-check";
import { expect, test } from "vitest";
import { formatDuration, parseDuration } from "./duration.js";

test.each([
  { text: "90s", seconds: 90 },
  { text: "10m", seconds: 600 },
  { text: "1h30m", seconds: 5400 },
  { text: "24h", seconds: 86_400 },
  { text: "30d", seconds: 2_592_000 },
  { text: "1d2h3m4s", seconds: 93_784 },
  { text: " 5s\n", seconds: 5 },
  { text: "0s", seconds: 0 },
])("$text is $seconds seconds", ({ text, seconds }) => {
  expect(parseDuration(text)).toBe(seconds);
});

test.each([
  "",
  " ",
  "5",
  "s",
  "1.5h",
  "-5s",
  "5m1h",
  "5s5s",
  "5 s",
  "1e3s",
  "5S",
  "9999999999s",
  "5ms",
  "\u0665s",
])("%j is no duration", (text) => {
  expect(() => parseDuration(text)).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }));
});

test.each([
  { seconds: 0, text: "0s" },
  { seconds: 59.9, text: "59s" },
  { seconds: 5400, text: "1h30m" },
  { seconds: 86_400, text: "1d" },
  { seconds: -3, text: "0s" },
])("$seconds seconds are written $text", ({ seconds, text }) => {
  expect(formatDuration(seconds)).toBe(text);
});

test.each([Number.NaN, Number.POSITIVE_INFINITY])("%d seconds are a mistake of the caller", (seconds) => {
  expect(() => formatDuration(seconds)).toThrow(TypeError);
});

test("whole seconds come back", () => {
  fc.assert(
    fc.property(fc.nat(), (seconds) => {
      expect(parseDuration(formatDuration(seconds))).toBe(seconds);
    }),
  );
});
