import { expect, test } from "vitest";
import { livenessOf } from "./liveness.js";

test.each([
  { name: "never heard of", signs: { lastHeartbeatMs: undefined }, is: "Unknown" },
  { name: "just now", signs: { lastHeartbeatMs: 200_000 }, is: "Ready" },
  { name: "exactly the grace ago", signs: { lastHeartbeatMs: 160_000 }, is: "Ready" },
  { name: "more than the grace ago", signs: { lastHeartbeatMs: 159_999 }, is: "NotReady" },
  { name: "exactly three graces ago", signs: { lastHeartbeatMs: 80_000 }, is: "NotReady" },
  { name: "more than three graces ago", signs: { lastHeartbeatMs: 79_999 }, is: "Unknown" },
  { name: "stopped", signs: { lastHeartbeatMs: 200_000, isStopped: true }, is: "NotReady" },
  { name: "stopped long ago", signs: { lastHeartbeatMs: 0, isStopped: true }, is: "Unknown" },
  { name: "unhealthy", signs: { lastHeartbeatMs: 200_000, isHealthy: false }, is: "NotReady" },
])("$name: $is", ({ signs, is }) => {
  const now = { monotonicMs: 200_000, graceMs: 40_000 };
  expect(livenessOf({ isStopped: false, isHealthy: true, ...signs }, now)).toBe(is);
});
