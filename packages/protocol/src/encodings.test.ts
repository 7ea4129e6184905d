import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeBase64Url, encodeBase64Url } from "./base64url.js";
import { concatBytes, equalBytes, fromHex, fromUtf8, hex, utf8 } from "./bytes.js";
import { crc32 } from "./crc32.js";

describe("CRC-32", () => {
  test.each([
    { text: "", crc: 0x00000000 },
    { text: "a", crc: 0xe8b7be43 },
    { text: "123456789", crc: 0xcbf43926 },
    { text: "The quick brown fox jumps over the lazy dog", crc: 0x414fa339 },
  ])("of $text is as published", ({ text, crc }) => {
    expect(crc32(utf8(text))).toBe(crc);
  });

  test.runIf(typeof zlibCrc32 === "function")("is zlib's", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(crc32(bytes)).toBe(zlibCrc32(bytes));
      }),
    );
  });
});

describe("base64url", () => {
  test.each([
    { text: "", encoded: "" },
    { text: "f", encoded: "Zg" },
    { text: "fo", encoded: "Zm8" },
    { text: "foo", encoded: "Zm9v" },
    { text: "foob", encoded: "Zm9vYg" },
    { text: "foobar", encoded: "Zm9vYmFy" },
  ])("of $text is as in RFC 4648 without padding", ({ text, encoded }) => {
    expect(encodeBase64Url(utf8(text))).toBe(encoded);
    expect(decodeBase64Url(encoded)).toEqual(utf8(text));
  });

  test("is what Node calls base64url, and comes back", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const text = encodeBase64Url(bytes);
        expect(text).toBe(Buffer.from(bytes).toString("base64url"));
        expect(decodeBase64Url(text)).toEqual(Uint8Array.from(bytes));
      }),
    );
  });

  test("has one spelling: any text that decodes is the encoding of what it decodes to", () => {
    const letters = fc.string({
      unit: fc.constantFrom("A", "B", "D", "w", "z", "0", "9", "-", "_", "+", "/", "=", " ", "\n", "ä"),
    });
    fc.assert(
      fc.property(fc.oneof(letters, fc.string()), (text) => {
        const bytes = decodeBase64Url(text);
        expect(bytes === undefined ? text : encodeBase64Url(bytes)).toBe(text);
      }),
      { numRuns: 2000 },
    );
  });

  test.each(["A", "AAAAA", "Zh", "Zm9", "Zg==", "Zm 9v", "Zm9v\n", "+/+/", "Zm9ä", "Zm9\u0100"])(
    "%j is refused",
    (text) => {
      expect(decodeBase64Url(text)).toBeUndefined();
    },
  );
});

describe("bytes", () => {
  test("hexadecimal digits come back", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(hex(bytes)).toBe(Buffer.from(bytes).toString("hex"));
        expect(fromHex(hex(bytes))).toEqual(Uint8Array.from(bytes));
      }),
    );
  });

  test.each(["0", "0g", "AB", " 00", "0x", "00\n"])("%j are no hexadecimal digits", (text) => {
    expect(fromHex(text)).toBeUndefined();
  });

  test("text comes back from UTF-8, a byte order mark included, and anything else throws", () => {
    expect(fromUtf8(utf8("\ufeffä😀"))).toBe("\ufeffä😀");
    expect(() => fromUtf8(Uint8Array.of(0xff))).toThrow(TypeError);
    expect(() => fromUtf8(Uint8Array.of(0xc0, 0x80))).toThrow(TypeError);
  });

  test("are put together and compared", () => {
    const all = concatBytes(Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3));
    expect(all).toEqual(Uint8Array.of(1, 2, 3));
    expect(equalBytes(all, Uint8Array.of(1, 2, 3))).toBe(true);
    expect(equalBytes(all, Uint8Array.of(1, 2))).toBe(false);
    expect(equalBytes(all, Uint8Array.of(1, 2, 4))).toBe(false);
  });
});
