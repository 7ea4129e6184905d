import { hex as toHex, RksError } from "@rk8s/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { DerReader, TAG } from "./der-reader.js";
import {
  encodeElement,
  encodeOid,
  encodeSequence,
  encodeSetOf,
  encodeSmallInteger,
  encodeUnsignedInteger,
} from "./der-writer.js";
import { encodeTime, readTime } from "./time.js";

function fromHex(digits: string): Uint8Array {
  return Uint8Array.from(Buffer.from(digits, "hex"));
}

function reader(hex: string): DerReader {
  return DerReader.over(fromHex(hex), { code: "CERTIFICATE_INVALID" });
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return "read";
  } catch (error) {
    return error instanceof RksError ? error.code : String(error);
  }
}

test.each<{ name: string; hex: string; read: (r: DerReader) => unknown }>([
  { name: "an indefinite length", hex: "3080020101", read: (r) => r.sequence() },
  { name: "a length in more bytes than needed", hex: "048101ff", read: (r) => r.octetString() },
  { name: "a length with a leading zero", hex: "04820080" + "00".repeat(128), read: (r) => r.octetString() },
  { name: "a length beyond the end", hex: "0403ffff", read: (r) => r.octetString() },
  { name: "a length of 4 GB", hex: "0484ffffffff00", read: (r) => r.octetString() },
  { name: "a length of 5 bytes", hex: "04850000000001ff", read: (r) => r.octetString() },
  { name: "a tag without a length", hex: "04", read: (r) => r.octetString() },
  { name: "a tag number above 30", hex: "1f8101", read: (r) => r.element() },
  { name: "another tag", hex: "0401ff", read: (r) => r.integer() },
  { name: "an empty INTEGER", hex: "0200", read: (r) => r.integer() },
  { name: "an INTEGER with a needless zero", hex: "02020001", read: (r) => r.integer() },
  { name: "an INTEGER with a needless ff", hex: "0202ff80", read: (r) => r.integer() },
  { name: "a BOOLEAN of 01", hex: "010101", read: (r) => r.boolean() },
  { name: "a BOOLEAN of two bytes", hex: "0102ffff", read: (r) => r.boolean() },
  { name: "a BIT STRING without a padding byte", hex: "0300", read: (r) => r.bitString() },
  { name: "a BIT STRING with 8 unused bits", hex: "030208ff", read: (r) => r.bitString() },
  { name: "a BIT STRING with padding that is not zero", hex: "030201ff", read: (r) => r.bitString() },
  { name: "an empty OBJECT IDENTIFIER", hex: "0600", read: (r) => r.oid() },
  {
    name: "an OBJECT IDENTIFIER with a needless 80",
    hex: "06035580 01".replace(" ", ""),
    read: (r) => r.oid(),
  },
  { name: "an OBJECT IDENTIFIER that is cut off", hex: "06025583", read: (r) => r.oid() },
  {
    name: "an OBJECT IDENTIFIER with an arc beyond 2^53",
    hex: "060a55ffffffffffffffff7f",
    read: (r) => r.oid(),
  },
  { name: "a NULL with contents", hex: "050100", read: (r) => r.null() },
  { name: "bytes behind the element", hex: "050000", read: (r) => (r.null(), r.finish()) },
])("$name is refused", ({ hex, read }) => {
  expect(codeOf(() => read(reader(hex)))).toBe("CERTIFICATE_INVALID");
});

test("nesting beyond the limit is refused, however deep", () => {
  let bytes = new Uint8Array();
  for (let i = 0; i < 5000; i++) bytes = new Uint8Array(encodeSequence(bytes));
  const descend = (): void => {
    for (let at = DerReader.over(bytes, { code: "CSR_INVALID" }); !at.done;) at = at.sequence();
  };
  expect(codeOf(descend)).toBe("CSR_INVALID");
});

test("every length from 0 to 70,000 is written minimally and read back", () => {
  for (const length of [0, 1, 127, 128, 255, 256, 65_535, 65_536, 70_000]) {
    const element = encodeElement(TAG.OCTET_STRING, new Uint8Array(length));
    const back = DerReader.over(element, { code: "CSR_INVALID", maxBytes: 100_000 });
    expect(back.octetString()).toHaveLength(length);
    back.finish();
  }
});

test("object identifiers are read back as written", () => {
  const arc = fc.integer({ min: 0, max: 2 ** 40 });
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 }),
      fc.integer({ min: 0, max: 39 }),
      fc.array(arc, { maxLength: 6 }),
      (root, second, rest) => {
        const dotted = [root, second, ...rest].join(".");
        const encoded = encodeOid(dotted);
        fc.pre(encoded.length <= 66);
        expect(DerReader.over(encoded, { code: "CSR_INVALID" }).oid()).toBe(dotted);
      },
    ),
  );
});

test.each([
  { dotted: "1.2.840.10045.3.1.7", hex: "06082a8648ce3d030107" },
  { dotted: "2.5.4.3", hex: "0603550403" },
  { dotted: "2.999.3", hex: "0603883703" },
  { dotted: "1.3.101.112", hex: "06032b6570" },
])("$dotted is $hex", ({ dotted, hex }) => {
  expect(toHex(encodeOid(dotted))).toBe(hex);
  expect(reader(hex).oid()).toBe(dotted);
});

test.each(["", "1", "3.1", "1.40", "1.2.", "1.02", "1.2.x", "1.2.-3", "1.2.9007199254740993"])(
  "%j is not an object identifier",
  (dotted) => {
    expect(() => encodeOid(dotted)).toThrow(TypeError);
  },
);

test("integers are written minimally and positive", () => {
  expect(toHex(encodeUnsignedInteger(fromHex("000080")))).toBe("02020080");
  expect(toHex(encodeUnsignedInteger(fromHex("0000")))).toBe("020100");
  expect(toHex(encodeUnsignedInteger(fromHex("")))).toBe("020100");
  expect(toHex(encodeSmallInteger(65_537))).toBe("0203010001");
});

test("elements of a SET OF are put in order", () => {
  const set = encodeSetOf([fromHex("020105"), fromHex("0101ff"), fromHex("020103")]);
  expect(toHex(set)).toBe("31090101ff020103020105");
});

test.each([
  { iso: "1950-01-01T00:00:00.000Z", hex: "170d3530303130313030303030305a" },
  { iso: "2049-12-31T23:59:59.000Z", hex: "170d3439313233313233353935395a" },
  { iso: "2050-01-01T00:00:00.000Z", hex: "180f32303530303130313030303030305a" },
  { iso: "9999-12-31T23:59:59.000Z", hex: "180f39393939313233313233353935395a" },
])("$iso is written as RFC 5280 wants it and read back", ({ iso, hex }) => {
  expect(toHex(encodeTime(Date.parse(iso)))).toBe(hex);
  expect(new Date(readTime(reader(hex))).toISOString()).toBe(iso);
});

test.each([
  { name: "no seconds", text: "2601010000Z" },
  { name: "an offset", text: "260101000000+0100" },
  { name: "February 30", text: "260230000000Z" },
  { name: "hour 24", text: "260101240000Z" },
  { name: "second 60", text: "260101000060Z" },
  { name: "month 13", text: "261301000000Z" },
])("a UTCTime with $name is refused", ({ text }) => {
  const element = encodeElement(TAG.UTC_TIME, new TextEncoder().encode(text));
  expect(codeOf(() => readTime(DerReader.over(element, { code: "CSR_INVALID" })))).toBe("CSR_INVALID");
});

test.each([Number.NaN, Date.UTC(1949, 11, 31), 253_402_300_800_000])(
  "%j cannot be written as a date",
  (timeMs) => {
    expect(() => encodeTime(timeMs)).toThrow(TypeError);
  },
);
