import fc from "fast-check";
import { expect, test } from "vitest";
import { formatIpRange, parseIpRange } from "./ip-range.js";

test.each([
  { text: "10.0.0.0/8", hex: "0a000000ff000000", back: "10.0.0.0/8" },
  { text: "10.1.2.3/8", hex: "0a000000ff000000", back: "10.0.0.0/8" },
  { text: "192.168.255.255/23", hex: "c0a8fe00fffffe00", back: "192.168.254.0/23" },
  { text: "0.0.0.0/0", hex: "0000000000000000", back: "0.0.0.0/0" },
  { text: "1.2.3.4/32", hex: "01020304ffffffff", back: "1.2.3.4/32" },
  {
    text: "2001:db8:ffff::/33",
    hex: "20010db8800000000000000000000000ffffffff800000000000000000000000",
    back: "2001:db8:8000::/33",
  },
  { text: "::/0", hex: "00".repeat(32), back: "::/0" },
])("$text is $hex", ({ text, hex, back }) => {
  const bytes = parseIpRange(text);
  expect(Buffer.from(bytes ?? []).toString("hex")).toBe(hex);
  expect(formatIpRange(bytes ?? new Uint8Array())).toBe(back);
});

test.each([
  "",
  "/",
  "10.0.0.0",
  "10.0.0.0/",
  "10.0.0.0/33",
  "10.0.0.0/08",
  "10.0.0.0/-1",
  "10.0.0.0/8/8",
  "10.0.0/8",
  "::/129",
  "x/8",
  "10.0.0.0/8 ",
])('"%s" is no range', (text) => {
  expect(parseIpRange(text)).toBeUndefined();
});

test.each([
  { name: "no bytes", hex: "" },
  { name: "an address alone", hex: "0a000000" },
  { name: "16 bytes", hex: "00".repeat(16) },
  { name: "a mask with a hole", hex: "0a000000ff00ff00" },
  { name: "a mask with a hole inside a byte", hex: "0a000000fd000000" },
])("$name cannot be written as a range", ({ hex }) => {
  expect(formatIpRange(Buffer.from(hex, "hex"))).toBeUndefined();
});

test("a range that was written is read back the same", () => {
  const v4 = fc.tuple(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.nat(32));
  const v6 = fc.tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat(128));
  fc.assert(
    fc.property(fc.oneof(v4, v6), ([address, bits]) => {
      const text =
        address.length === 4
          ? address.join(".")
          : (Buffer.from(address).toString("hex").match(/.{4}/g) ?? []).join(":");
      const range = parseIpRange(`${text}/${bits}`);
      const back = formatIpRange(range ?? new Uint8Array());
      expect(back?.endsWith(`/${bits}`)).toBe(true);
      expect(parseIpRange(back ?? "")).toEqual(range);
    }),
  );
});
