import type { ErrorCode } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { joinPause } from "./join-pause.js";
import { RksAddresses } from "./rks-addresses.js";

/** Tries in ten minutes that all fail: when each was made, by its address. The draws are the longest ones unless told otherwise. */
function failing(text: string, codeOf: (host: string) => ErrorCode, random = () => 0.999_999) {
  const clock = new FakeClock();
  let place = 0;
  const addresses = RksAddresses.parse(text, () => (place += 0.01));
  const triedMs: Record<string, number[]> = {};
  for (let attempt = 1; clock.monotonicMs() < 600_000; attempt++) {
    const address = addresses.current;
    (triedMs[address.host] ??= []).push(clock.monotonicMs());
    clock.advance(joinPause({ code: codeOf(address.host), address, attempt }, addresses, { clock, random }));
  }
  return triedMs;
}

function longestGap(triedMs: readonly number[]): number {
  return Math.max(...triedMs.slice(1).map((ms, index) => ms - triedMs[index]!));
}

test.each(["CONNECTION_LOST", "TIMED_OUT", "UNREACHABLE", "UNAVAILABLE", "VAULT_SEALED"] as const)(
  "each of two control planes that fail with %s is tried every three seconds, however long it lasts",
  (code) => {
    const { a, b } = failing("a:1,b:1", () => code);
    expect(longestGap(a!)).toBeLessThanOrEqual(3000);
    expect(longestGap(b!)).toBeLessThanOrEqual(3000);
  },
);

test("the shortest pause of one control plane is half a second, the way to another takes 50 ms", () => {
  const { a, b } = failing(
    "a:1,b:1",
    () => "UNREACHABLE",
    () => 0,
  );
  expect(a!.slice(0, 3)).toEqual([0, 500, 1000]);
  expect(b!.slice(0, 3)).toEqual([50, 550, 1050]);
});

test("one that refuses is left alone for ever longer, which keeps nobody from the other one", () => {
  const { a, b } = failing("a:1,b:1", (host) => (host === "a" ? "BUSY" : "UNREACHABLE"));
  expect(longestGap(a!)).toBeGreaterThanOrEqual(30_000);
  expect(longestGap(b!)).toBeLessThanOrEqual(3000);
});

test("the only control plane is tried after growing pauses", () => {
  const { a } = failing("a:1", () => "UNREACHABLE");
  expect(a!.slice(0, 7)).toEqual([0, 1000, 3000, 7000, 15_000, 31_000, 61_000]);
});
