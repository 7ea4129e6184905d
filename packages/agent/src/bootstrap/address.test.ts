import { expect, test } from "vitest";
import { formatAddress, parseRksAddress } from "./address.js";

test.each([
  { text: "127.0.0.1:50051", address: { host: "127.0.0.1", port: 50_051 } },
  { text: " rks.example:1 ", address: { host: "rks.example", port: 1 } },
  { text: "[::1]:65535", address: { host: "::1", port: 65_535 } },
  { text: "[fe80::1%eth0]:50051", address: { host: "fe80::1%eth0", port: 50_051 } },
])("$text is an address", ({ text, address }) => {
  expect(parseRksAddress(text)).toEqual(address);
  expect(parseRksAddress(formatAddress(address))).toEqual(address);
});

test.each([
  "",
  "host",
  "host:",
  ":1",
  "host:0",
  "host:65536",
  "host:1x",
  "::1:50051",
  "a b:1",
  "https://host:1",
  "u@h:1",
])("%j is refused", (text) => {
  expect(() => parseRksAddress(text)).toThrow(expect.objectContaining({ code: "USAGE_INVALID" }));
});
