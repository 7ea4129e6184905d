import { RksError, type ErrorCode, type SocketAddress } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { formatAddress } from "../bootstrap/address.js";
import { RksAddresses } from "../bootstrap/rks-addresses.js";
import { RetryPauses } from "./retry-pauses.js";

const YEAR_MS = 365 * 24 * 3_600_000;

/** A node with some addresses; its draws are the longest ones unless told otherwise. */
function aNode(names: readonly string[], random = () => 0.999_999) {
  const clock = new FakeClock();
  let place = 0;
  const addresses = RksAddresses.parse(names.map((name) => `${name}:1`).join(","), () => (place += 0.01));
  const pauses = new RetryPauses(addresses, { clock, random });
  /** The attempt at the address to turn to fails, after a session when `readyMs` is given; the pause is waited for. */
  const fail = (
    code: ErrorCode,
    { readyMs, leftMs = YEAR_MS }: { readyMs?: number; leftMs?: number } = {},
  ) => {
    const address: SocketAddress = addresses.current;
    clock.advance(readyMs ?? 0);
    const { delayMs } = pauses.after({ error: new RksError(code, "failed"), address, readyMs, leftMs });
    clock.advance(delayMs);
    return { at: address.host, delayMs, next: formatAddress(addresses.current).split(":")[0] };
  };
  return { clock, addresses, pauses, fail };
}

test.each(["CONNECTION_LOST", "UNAVAILABLE", "INTERNAL", "STREAM_RESET", "BUSY"] as const)(
  "however many sessions in a row ended with %s, another control plane is turned to within a second",
  (code) => {
    const { fail } = aNode(["a", "b"]);
    const ends = Array.from({ length: 20 }, () => fail(code, { readyMs: 100 }));
    expect(ends.map(({ at }) => at).join("")).toBe("ab".repeat(10));
    expect(Math.max(...ends.map(({ delayMs }) => delayMs))).toBe(1000);
    expect(ends[0]!.delayMs).toBe(300);
  },
);

test("what one refuses with is not waited for at another", () => {
  const { fail, addresses } = aNode(["a", "b"]);
  for (let count = 0; count < 20; count += 1) {
    fail(addresses.current.host === "a" ? "BUSY" : "UNREACHABLE");
  }
  // Now the first is left alone for half a minute at a time, the second for three seconds.
  const rounds = Array.from({ length: 8 }, () =>
    fail(addresses.current.host === "a" ? "BUSY" : "UNREACHABLE"),
  );
  expect(rounds.filter(({ at }) => at === "b").length).toBeGreaterThanOrEqual(6);
  expect(Math.max(...rounds.map(({ delayMs }) => delayMs))).toBeLessThanOrEqual(3000);
});

test("a session makes up for what the other addresses failed with before it", () => {
  const { fail, addresses } = aNode(["a", "b"]);
  for (let count = 0; count < 40; count += 1) fail("BUSY");
  while (addresses.current.host !== "a") fail("BUSY");
  expect(fail("BUSY")).toMatchObject({ at: "a", next: "b" });
  expect(fail("CONNECTION_LOST", { readyMs: 1 })).toEqual({ at: "b", delayMs: 300, next: "a" });
});

test("when all are away each is asked as seldom as one alone would be", () => {
  const tries = (names: readonly string[], code: ErrorCode): number => {
    const { clock, fail } = aNode(names, () => 0.5);
    const ends: string[] = [];
    while (clock.monotonicMs() < 600_000) ends.push(fail(code).at);
    return Math.max(...names.map((name) => ends.filter((at) => at === name).length));
  };
  for (const code of ["UNREACHABLE", "BUSY"] as const) {
    expect(tries(["a", "b", "c"], code)).toBeLessThanOrEqual(tries(["a"], code) + 1);
    expect(tries(["a", "b", "c"], code)).toBeGreaterThan(30);
  }
});

test("a session that was long makes the next pause a short one, a short one does not", () => {
  const { fail } = aNode(["a"]);
  const pauses = [undefined, undefined, undefined, 100, 10_000].map(
    (readyMs) => fail("BUSY", readyMs === undefined ? {} : { readyMs }).delayMs,
  );
  expect(pauses).toEqual([1000, 2000, 4000, 8000, 1000]);
});

test("of several, one that takes nodes and loses them at once is asked ever more seldom", () => {
  const { clock, fail, addresses } = aNode(["a", "b"]);
  const lostMs: number[] = [];
  while (lostMs.length < 8) {
    if (addresses.current.host === "a") fail("UNREACHABLE");
    else {
      lostMs.push(clock.monotonicMs());
      fail("INTERNAL", { readyMs: 1 });
    }
  }
  const gaps = lostMs.slice(1).map((ms, index) => ms - lostMs[index]!);
  expect(gaps[0]).toBeLessThan(2500);
  expect(gaps.at(-1)).toBeGreaterThanOrEqual(30_000);
});

test("of three the next in turn is asked first, and the one that failed last", () => {
  const { fail } = aNode(["a", "b", "c"]);
  expect(fail("CONNECTION_LOST", { readyMs: 20_000 }).next).toBe("b");
  expect(fail("TIMED_OUT").next).toBe("c");
  expect(fail("CONNECTION_LOST", { readyMs: 20_000 })).toMatchObject({ at: "c", next: "a" });
});

test("a pause takes an eighth of what is left of the certificate at most", () => {
  const { fail } = aNode(["a"]);
  expect(fail("BUSY", { leftMs: 4000 }).delayMs).toBe(500);
  expect(fail("BUSY", { leftMs: 0 }).delayMs).toBe(100);
});
