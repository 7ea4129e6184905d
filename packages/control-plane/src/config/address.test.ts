import { expect, test } from "vitest";
import { formatHostPort, isHost, isWildcard, parseHostPort } from "./address.js";

test.each([
  { text: "127.0.0.1:50051", host: "127.0.0.1", port: 50_051 },
  { text: "[::1]:0", host: "::1", port: 0 },
  { text: "rks.example.org:443", host: "rks.example.org", port: 443 },
  { text: "localhost:65535", host: "localhost", port: 65_535 },
])("reads $text and writes it again", ({ text, host, port }) => {
  expect(parseHostPort(text)).toEqual({ host, port });
  expect(formatHostPort({ host, port })).toBe(text);
});

test.each([
  "",
  ":1",
  "a",
  "a:",
  "a:b",
  "a:-1",
  "a:65536",
  "::1:5",
  "[::1]",
  "[1.2.3.4]:5",
  "a b:1",
  "-a:1",
  "1.2.3:4",
  "a..b:1",
  "[::1]x:1",
])("refuses %j", (text) => {
  expect(() => parseHostPort(text)).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }));
});

test("tells hosts and wildcards", () => {
  expect(["a.b", "10.0.0.1", "::1"].map(isHost)).toEqual([true, true, true]);
  expect(["a b", "10.0.0.999", "", "a_b"].map(isHost)).toEqual([false, false, false, false]);
  expect(["0.0.0.0", "::", "::1", "0.0.0.1"].map(isWildcard)).toEqual([true, true, false, false]);
});
