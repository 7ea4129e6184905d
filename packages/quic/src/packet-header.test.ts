import fc from "fast-check";
import { expect, test } from "vitest";
import { parsePacketHeader } from "./packet-header.js";

const DCID = Uint8Array.from({ length: 20 }, (_, i) => i + 1);
const SCID = Uint8Array.of(9, 8, 7, 6, 5, 4, 3, 2);

function longHeader(first: number, version: number, rest: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(Buffer.from([first, 0, 0, 0, 0, 20, ...DCID, 8, ...SCID, ...rest]));
  new DataView(bytes.buffer).setUint32(1, version);
  return bytes;
}

test.each([
  { name: "an Initial without a token", bytes: longHeader(0xc3, 1, [0, 1, 2]), type: "initial", token: [] },
  {
    name: "an Initial with a token",
    bytes: longHeader(0xc3, 1, [2, 5, 6, 0]),
    type: "initial",
    token: [5, 6],
  },
  {
    name: "an Initial whose token length takes two bytes",
    bytes: longHeader(0xc3, 1, [0x40, 2, 5, 6]),
    type: "initial",
    token: [5, 6],
  },
  { name: "0-RTT", bytes: longHeader(0xd0, 1, []), type: "zero-rtt", token: undefined },
  { name: "a handshake", bytes: longHeader(0xe0, 1, []), type: "handshake", token: undefined },
  { name: "a Retry", bytes: longHeader(0xf0, 1, []), type: "retry", token: undefined },
  {
    name: "a version negotiation",
    bytes: longHeader(0x80, 0, []),
    type: "version-negotiation",
    token: undefined,
  },
  {
    name: "another version",
    bytes: longHeader(0xc0, 0x6b3343cf, []),
    type: "unknown-version",
    token: undefined,
  },
])("reads $name", ({ bytes, type, token }) => {
  const header = parsePacketHeader(bytes);
  expect(header).toMatchObject({
    form: "long",
    type,
    dcid: DCID,
    scid: SCID,
    token: token === undefined ? undefined : Uint8Array.from(token),
  });
});

test("reads the connection id of a short header", () => {
  const bytes = Uint8Array.of(0x40, ...DCID, 1);
  expect(parsePacketHeader(bytes)).toEqual({ form: "short", dcid: DCID });
});

test.each([
  { name: "nothing", bytes: new Uint8Array(0) },
  { name: "a short header that is cut", bytes: Uint8Array.of(0x40, ...DCID.subarray(1)) },
  { name: "a long header that is cut", bytes: longHeader(0xc0, 1, []).subarray(0, 30) },
  { name: "an Initial without a token length", bytes: longHeader(0xc0, 1, []) },
  { name: "a token longer than the datagram", bytes: longHeader(0xc0, 1, [3, 1, 2]) },
  { name: "a token length of four bytes", bytes: longHeader(0xc0, 1, [0x80, 0, 0, 1, 5]) },
])("refuses $name", ({ bytes }) => {
  expect(parsePacketHeader(bytes)).toBeUndefined();
});

test("any bytes are read or refused, never beyond their end", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(10), (bytes, offset) => {
      const padded = new Uint8Array(bytes.length + offset + 10).fill(0xff);
      padded.set(bytes, offset);
      const header = parsePacketHeader(padded.subarray(offset, offset + bytes.length));
      if (header === undefined) return;
      const end = offset + bytes.length;
      const ids = header.form === "long" ? [header.dcid, header.scid] : [header.dcid];
      for (const id of ids) expect(id.byteOffset + id.length).toBeLessThanOrEqual(end);
    }),
  );
});
