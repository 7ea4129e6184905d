import { expect, test } from "vitest";
import { hostPortOfEndpoint, parseStoreEndpoint } from "./store-endpoint.js";

test.each([
  ["https://store-1:2379", "https://store-1:2379"],
  ["https://Store-1.Example/", "https://store-1.example:2379"],
  ["store-1:2380", "https://store-1:2380"],
  ["store-1", "https://store-1:2379"],
  ["https://[2001:db8::1]:2379", "https://[2001:db8::1]:2379"],
  ["https://[2001:db8::1]", "https://[2001:db8::1]:2379"],
  ["http://127.0.0.1:2379", "http://127.0.0.1:2379"],
  ["HTTP://localhost:1", "http://localhost:1"],
  ["http://[::1]:2379", "http://[::1]:2379"],
])("%s is read", (text, endpoint) => {
  expect(parseStoreEndpoint(text)).toBe(endpoint);
});

test.each([
  "",
  "https://",
  "ftp://store-1:2379",
  "https://store-1:2379/path",
  "https://store-1:0",
  "https://store-1:65536",
  "https://user@store-1:2379",
  "https://10.0.0.256:2379",
  "http://10.0.0.1:2379",
  "http://127.evil.example:2379",
  "http://store-1",
])("%s is refused", (text) => {
  expect(() => parseStoreEndpoint(text)).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }));
});

test("a password that does not belong there is not repeated", () => {
  expect(() => parseStoreEndpoint("https://root:hunter2@store-1:2379")).toThrow(
    '"https://…@store-1:2379" is not like',
  );
});

test("host and port come without the scheme and brackets", () => {
  expect(hostPortOfEndpoint("https://[2001:db8::1]:2379")).toEqual({ host: "2001:db8::1", port: 2379 });
});
