import fc from "fast-check";
import { expect, test } from "vitest";
import { backoffMs } from "../bootstrap/backoff.js";
import { dueInMs, lifetimeMs, renewalBackoff, renewalPoint, stepTimeoutMs } from "./renewal-schedule.js";

const START = Date.parse("2026-01-01T00:00:00Z");

function aCertificate(seconds: number): { readonly issuedAt: Date; readonly notAfter: Date } {
  return { issuedAt: new Date(START), notAfter: new Date(START + seconds * 1000) };
}

test("a fleet that joined in one second spreads its renewals over an eighth of the lifetime", () => {
  const agents = Array.from({ length: 1000 }, (_, i) => i / 1000);
  const dueMs = agents.map((random) =>
    dueInMs(aCertificate(3600), { serverNowMs: START, point: renewalPoint(() => random) }),
  );
  expect(Math.min(...dueMs)).toBe(2_160_000);
  expect(Math.max(...dueMs)).toBe(2_591_568);
  const perSecond = new Map<number, number>();
  for (const ms of dueMs) {
    const second = Math.floor(ms / 1000);
    perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
  }
  expect(Math.max(...perSecond.values())).toBeLessThanOrEqual(3);
});

test.each([
  { name: "fresh", ageSeconds: 0, due: 5500 },
  { name: "half its life old", ageSeconds: 5, due: 500 },
  { name: "past its point", ageSeconds: 7, due: 0 },
  { name: "expired", ageSeconds: 100, due: 0 },
  { name: "from the future by a clock that was set back", ageSeconds: -30, due: 5500 },
])("a certificate of ten seconds that is $name is due in $due ms", ({ ageSeconds, due }) => {
  const serverNowMs = START + ageSeconds * 1000;
  expect(dueInMs(aCertificate(10), { serverNowMs, point: 0.66 })).toBe(due);
});

test("whatever a certificate says, the times made of it are finite and not negative", () => {
  const time = fc.integer({ min: 0, max: 8e15 });
  fc.assert(
    fc.property(
      time,
      time,
      time,
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (issued, end, now, random) => {
        const times = { issuedAt: new Date(issued), notAfter: new Date(end) };
        const due = dueInMs(times, { serverNowMs: now, point: renewalPoint(() => random) });
        expect(due).toBeGreaterThanOrEqual(0);
        expect(due).toBeLessThanOrEqual(lifetimeMs(times));
        expect(backoffMs(9, () => random, renewalBackoff(times))).toBeGreaterThanOrEqual(100);
      },
    ),
  );
});

test.each([
  { seconds: 4, earliestMs: 1200, latestMs: 1440 },
  { seconds: 5, earliestMs: 1500, latestMs: 1800 },
  { seconds: 10, earliestMs: 5000, latestMs: 6000 },
  { seconds: 14, earliestMs: 8333, latestMs: 10_000 },
  { seconds: 15, earliestMs: 9000, latestMs: 10_800 },
  { seconds: 60, earliestMs: 36_000, latestMs: 43_200 },
])(
  "a certificate of $seconds s is renewed after $earliestMs to $latestMs ms",
  ({ seconds, earliestMs, latestMs }) => {
    const due = (random: number): number =>
      dueInMs(aCertificate(seconds), { serverNowMs: START, point: renewalPoint(() => random) });
    expect([due(0), due(1)]).toEqual([earliestMs, latestMs]);
  },
);

test.each([
  { leftMs: 20 * 60_000, timeoutMs: 10_000 },
  { leftMs: 4000, timeoutMs: 1333 },
  { leftMs: 1000, timeoutMs: 500 },
  { leftMs: 0, timeoutMs: 500 },
  { leftMs: -1000, timeoutMs: 500 },
])("with $leftMs ms left a step of a renewal has $timeoutMs ms", ({ leftMs, timeoutMs }) => {
  expect(stepTimeoutMs(leftMs)).toBe(timeoutMs);
});

test.each([{ seconds: 5 }, { seconds: 10 }, { seconds: 3600 }])(
  "a renewal of a certificate of $seconds s of which every step hangs is tried at least three times",
  ({ seconds }) => {
    const times = aCertificate(seconds);
    let leftMs = lifetimeMs(times) - dueInMs(times, { serverNowMs: START, point: renewalPoint(() => 0.999) });
    let count = 0;
    for (; leftMs > 0; count++) {
      leftMs -= stepTimeoutMs(leftMs) + backoffMs(count, () => 0.999, renewalBackoff(times));
    }
    expect(count).toBeGreaterThanOrEqual(3);
  },
);

test.each([
  { seconds: 5, floorMs: 125, baseMs: 250, capMs: 500, tries: 4 },
  { seconds: 10, floorMs: 250, baseMs: 500, capMs: 500, tries: 5 },
  { seconds: 3600, floorMs: 500, baseMs: 1000, capMs: 60_000, tries: 15 },
])(
  "a renewal of a certificate of $seconds s that is refused at once is tried at least $tries times",
  ({ seconds, floorMs, baseMs, capMs, tries }) => {
    const times = aCertificate(seconds);
    expect(renewalBackoff(times)).toEqual({ floorMs, baseMs, capMs });
    let leftMs = lifetimeMs(times) * (1 - 0.72);
    let count = 0;
    for (; leftMs > 0; count++) leftMs -= backoffMs(count, () => 0.999, renewalBackoff(times));
    expect(count).toBeGreaterThanOrEqual(tries);
  },
);
