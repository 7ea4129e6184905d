import { type Logger, RksError, silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { NO_MEMBERS, type StoreTrial } from "../store/choose-store.js";
import { expiryWarnings, StoreExpiry } from "./store-expiry.js";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const START = Date.UTC(2027, 0, 1);

function lasting(...days: readonly number[]): StoreTrial["certificates"] {
  return days.map((count, at) => ({
    endpoint: `https://store-${at + 1}:2379`,
    notBefore: START,
    notAfter: START + count * DAY_MS,
  }));
}

test("members whose certificates are in the last third of their life are named with the first end", () => {
  const certificates = lasting(90, 75, 300);
  expect(expiryWarnings(certificates, START + 49 * DAY_MS)).toEqual([]);
  expect(expiryWarnings(certificates, START + 50 * DAY_MS)).toEqual([
    expect.stringMatching(
      / of https:\/\/store-2:2379 end, .* 2027-03-17T00:00:00\.000Z, .*rks gen xline-certs/,
    ),
  ]);
  expect(expiryWarnings(certificates, START + 100 * DAY_MS)).toEqual([
    expect.stringContaining("of https://store-1:2379 https://store-2:2379 end"),
  ]);
  expect(expiryWarnings(lasting(...Array.from({ length: 10 }, () => 1)), START + DAY_MS)[0]).toContain(
    "https://store-8:2379 and 2 more end",
  );
  expect(expiryWarnings([], START)).toEqual([]);
});

test("each hour is looked, each day is said, and new certificates end it", async () => {
  const warned: unknown[] = [];
  const logger: Logger = { ...silentLogger, warn: (message) => warned.push(message) };
  const clock = new FakeClock({ now: START });
  let looks = 0;
  let certificates = lasting(90);
  let isDown = false;
  const tryStore = (): Promise<StoreTrial> => {
    looks++;
    if (isDown) return Promise.reject(new RksError("CONFIG_INVALID", "no certificate"));
    return Promise.resolve({ ...NO_MEMBERS, certificates });
  };
  const expiry = new StoreExpiry({ tryStore, clock, logger });
  expect(expiry.firstNotAfter).toBeUndefined();
  const stop = new AbortController();
  const running = expiry.run(stop.signal);
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    await clock.nextSleep();
  };
  await clock.nextSleep();
  expect(expiry.firstNotAfter).toBe(START + 90 * DAY_MS);
  expect(warned).toEqual([]);
  await pass(60 * DAY_MS);
  expect(warned).toEqual(["Time for new certificates of the store"]);
  await pass(HOUR_MS);
  expect(looks).toBe(3);
  expect(warned).toHaveLength(1);
  await pass(24 * HOUR_MS);
  expect(warned).toHaveLength(2);
  isDown = true;
  await pass(HOUR_MS);
  expect(warned[2]).toMatch(/could not be looked at/);
  expect(expiry.firstNotAfter).toBe(START + 90 * DAY_MS);
  isDown = false;
  certificates = lasting(200);
  await pass(24 * HOUR_MS);
  expect(warned).toHaveLength(3);
  expect(expiry.firstNotAfter).toBe(START + 200 * DAY_MS);
  certificates = [];
  await pass(HOUR_MS);
  expect(expiry.firstNotAfter).toBeUndefined();
  stop.abort();
  await running;
  expect(clock.pendingSleeps).toBe(0);
});
