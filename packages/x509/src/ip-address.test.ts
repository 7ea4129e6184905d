import { isIPv4, isIPv6 } from "node:net";
import { hex as toHex } from "@rk8s/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { formatIpAddress, parseIpAddress } from "./ip-address.js";

test.each([
  { text: "10.0.0.1", hex: "0a000001", formatted: "10.0.0.1" },
  { text: "::", hex: "00".repeat(16), formatted: "::" },
  { text: "::1", hex: `${"00".repeat(15)}01`, formatted: "::1" },
  { text: "2001:DB8::", hex: `20010db8${"00".repeat(12)}`, formatted: "2001:db8::" },
  { text: "1:2:3:4:5:6:7:8", hex: "00010002000300040005000600070008", formatted: "1:2:3:4:5:6:7:8" },
  { text: "1::4:0:0:0:8", hex: "00010000000000040000000000000008", formatted: "1:0:0:4::8" },
  { text: "::ffff:1.2.3.4", hex: "00000000000000000000ffff01020304", formatted: "::ffff:102:304" },
])("$text is read and written back as $formatted", ({ text, hex, formatted }) => {
  const bytes = parseIpAddress(text);
  expect(bytes && toHex(bytes)).toBe(hex);
  expect(bytes && formatIpAddress(bytes)).toBe(formatted);
});

test.each([
  "",
  "1.2.3",
  "1.2.3.256",
  "01.2.3.4",
  "1.2.3.4.5",
  ":",
  ":::",
  "1:2:3:4:5:6:7:8:9",
  "1:2:3:4:5:6:7",
  "1::2::3",
  "::1.2.3.4:5",
  "12345::",
  "::g",
  "1:2:3:4:5:6:7:8::",
  "fe80::1%eth0",
])("%j is not an IP address", (text) => {
  expect(parseIpAddress(text)).toBeUndefined();
});

test("every address is read back, and node:net agrees on what is one", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  );
  fc.assert(
    fc.property(bytes, (address) => {
      const text = formatIpAddress(address) ?? "";
      expect(isIPv4(text) || isIPv6(text)).toBe(true);
      expect(parseIpAddress(text)).toEqual(address);
    }),
  );
  fc.assert(
    fc.property(fc.stringMatching(/^[0-9a-f:.]{0,20}$/), (text) => {
      expect(parseIpAddress(text) !== undefined).toBe(isIPv4(text) || isIPv6(text));
    }),
    { numRuns: 2000 },
  );
});
