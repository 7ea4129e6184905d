import { FakeClock } from "@rk8s/protocol/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { AddressTokens } from "./address-token.js";

const FROM = { host: "192.0.2.1", port: 4000 };
const SCID = new Uint8Array(20).fill(1);
const DCID = new Uint8Array(8).fill(2);

function setUp(): { clock: FakeClock; tokens: AddressTokens; token: Uint8Array } {
  const clock = new FakeClock();
  const tokens = new AddressTokens(new Uint8Array(32).fill(3), { clock });
  return { clock, tokens, token: tokens.issue(FROM, SCID, DCID) };
}

test("a token gives back the original connection id", () => {
  const { tokens, token, clock } = setUp();
  clock.advance(10_000);
  expect(new Uint8Array(tokens.check(FROM, SCID, token)!)).toEqual(DCID);
});

test.each([
  { name: "another address", from: { ...FROM, host: "192.0.2.2" }, scid: SCID },
  { name: "another port", from: { ...FROM, port: 4001 }, scid: SCID },
  { name: "another connection id", from: FROM, scid: new Uint8Array(20) },
])("a token is worth nothing with $name", ({ from, scid }) => {
  const { tokens, token } = setUp();
  expect(tokens.check(from, scid, token)).toBeUndefined();
});

test("a token is worth nothing when it is older than its lifetime", () => {
  const { tokens, token, clock } = setUp();
  clock.advance(10_001);
  expect(tokens.check(FROM, SCID, token)).toBeUndefined();
});

test("a token of another key is worth nothing", () => {
  const { clock, token } = setUp();
  const others = new AddressTokens(new Uint8Array(32), { clock });
  expect(others.check(FROM, SCID, token)).toBeUndefined();
});

test("a token with any byte changed, and any other bytes, are worth nothing", () => {
  const { tokens, token } = setUp();
  for (let i = 0; i < token.length; i++) {
    const changed = Uint8Array.from(token);
    changed[i] = (changed[i] ?? 0) ^ 1;
    expect(tokens.check(FROM, SCID, changed)).toBeUndefined();
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => tokens.check(FROM, SCID, bytes) === undefined),
  );
});
