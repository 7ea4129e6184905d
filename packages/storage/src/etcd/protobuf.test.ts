import { RksError } from "@rk8s/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";

import { RANGE, TXN, TxnWriter, WATCH } from "./messages.js";
import { MessageReader, MessageWriter } from "./protobuf.js";

test("any fields come back as they were written", () => {
  const field = fc.oneof(
    fc.record({ number: fc.integer({ min: 1, max: 1000 }), value: fc.maxSafeNat() }),
    fc.record({ number: fc.integer({ min: 1, max: 1000 }), value: fc.uint8Array({ maxLength: 300 }) }),
  );
  fc.assert(
    fc.property(fc.array(field, { maxLength: 10 }), (fields) => {
      const writer = new MessageWriter();
      for (const { number, value } of fields) {
        if (typeof value === "number") writer.integer(number, value);
        else writer.bytes(number, value);
      }
      const bytes = writer.finish();
      expect(bytes.byteLength).toBe(writer.byteLength);
      const reader = new MessageReader(bytes);
      for (const { number, value } of fields) {
        expect(reader.next()).toBe(number);
        const read = typeof value === "number" ? reader.integer() : Uint8Array.from(reader.bytes());
        expect(read).toEqual(value);
      }
      expect(reader.next()).toBe(0);
    }),
  );
});

test("the encoding is that of Protocol Buffers", () => {
  const inner = new MessageWriter().bytes(2, Buffer.from("testing"));
  const bytes = new MessageWriter().integer(1, 150).message(3, inner).integer(300, 0).finish();
  expect(bytes.toString("hex")).toBe("0896011a09120774657374696e67e01200");
});

test("a transaction has the bytes that etcd's own client sends", () => {
  const request = new TxnWriter()
    .compare(Buffer.from("k"), 0)
    .put(Buffer.from("k"), Buffer.from("v"))
    .finish();
  // compare { target: MOD, key: "k", mod_revision: 0 }, success { request_put { key: "k", value: "v" } }
  expect(request.toString("hex")).toBe("0a09080010021a016b3000120812060a016b120176");
});

test("any bytes are either read or refused with a code, whatever they claim", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const { decode } of [RANGE, TXN, WATCH])
        expect(outcome(() => decode(bytes))).toMatch(/^(read|MESSAGE_INVALID)$/);
    }),
    { numRuns: 2000 },
  );
});

test.each([
  ["a length beyond the end", "0aff01"],
  ["a number that does not end", "08ffffffffffffffffffffff"],
  ["a number above 2^53", "08ffffffffffffffff7f"],
  ["a number that is cut short", "0880"],
  ["field number 0", "0001"],
  ["a group", "0b"],
])("%s is refused", (_name, hex) => {
  const reader = new MessageReader(Buffer.from(hex, "hex"));
  expect(() => {
    if (reader.next() === 1) reader.integer();
    reader.next();
  }).toThrow(expect.objectContaining({ code: "MESSAGE_INVALID" }));
});

test("64-bit ids are passed over", () => {
  const bytes = Buffer.from("08ffffffffffffffffff011805", "hex");
  const reader = new MessageReader(bytes);
  expect(reader.next()).toBe(1);
  expect(reader.next()).toBe(3);
  expect(reader.integer()).toBe(5);
});

function outcome(action: () => unknown): string {
  try {
    action();
    return "read";
  } catch (reason) {
    return reason instanceof RksError ? reason.code : String(reason);
  }
}
