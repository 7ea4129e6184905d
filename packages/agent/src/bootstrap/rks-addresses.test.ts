import { expect, test } from "vitest";
import { formatAddress } from "./address.js";
import { RksAddresses } from "./rks-addresses.js";

/** Draws that keep the order in which they are made. */
function inOrder(): () => number {
  let next = 0;
  return () => (next += 0.01);
}

test("one address has nowhere else to go, and waits as usual", () => {
  const addresses = RksAddresses.parse("rks.example:50051");
  const { current } = addresses;
  addresses.passOver(current);
  expect(addresses.current).toBe(current);
  expect(addresses.isSeveral).toBe(false);
  expect(addresses.patience).toEqual({ idleTimeoutMs: undefined, answerTimeoutMs: undefined });
});

test("several are gone through in turn, each passed over once for one failure", () => {
  const addresses = RksAddresses.parse(" 10.0.0.1:1, [2001:db8::1]:2 ,rks.example:3", inOrder());
  const first = addresses.current;
  const seen = [formatAddress(first)];
  addresses.passOver(first);
  addresses.passOver(first);
  for (let count = 0; count < 3; count += 1) {
    seen.push(formatAddress(addresses.current));
    addresses.passOver(addresses.current);
  }
  expect(seen).toEqual(["10.0.0.1:1", "[2001:db8::1]:2", "rks.example:3", "10.0.0.1:1"]);
});

test("a thousand agents spread over two", () => {
  let isFirst = 0;
  for (let count = 0; count < 1000; count += 1) {
    if (RksAddresses.parse("a.example:1,b.example:1").current.host === "a.example") isFirst += 1;
  }
  expect(isFirst).toBeGreaterThan(400);
  expect(isFirst).toBeLessThan(600);
});

test("the same address twice is one", () => {
  expect(RksAddresses.parse("a.example:1,a.example:1").isSeveral).toBe(false);
});

test.each(["", "a.example:1,", ",a.example:1", "a.example:1,,b.example:1", "a.example:1 b.example:1"])(
  "%j is refused",
  (text) => {
    expect(() => RksAddresses.parse(text)).toThrow(expect.objectContaining({ code: "USAGE_INVALID" }));
  },
);

test("more than a cluster has are refused", () => {
  const many = Array.from({ length: 17 }, (_, index) => `10.0.0.${index}:1`).join(",");
  expect(() => RksAddresses.parse(many)).toThrow(expect.objectContaining({ code: "USAGE_INVALID" }));
});
