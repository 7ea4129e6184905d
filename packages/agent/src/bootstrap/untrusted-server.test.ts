import { RksError } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { completePorts } from "../ports.js";
import { FakeRks } from "../testing/fake-rks.js";
import { TestCa } from "../testing/test-ca.js";
import { parseRksAddress } from "./address.js";
import { explainByDates } from "./untrusted-server.js";

const HOUR_MS = 3_600_000;
const REFUSED = new RksError("SERVER_UNTRUSTED", "the certificate has expired or is not valid yet");

/** What becomes of a refusal on a host whose clock is off by so much. */
async function explain(offMs: number, options: { isForeign?: boolean; refused?: RksError } = {}) {
  const clock = new FakeClock();
  await using rks = await FakeRks.start({ clock: new FakeClock({ now: clock.now() }) });
  clock.jump(offMs);
  const ports = await completePorts({ clock, transport: rks.transport });
  const roots = options.isForeign === true ? [new TestCa({ nowMs: clock.now() }).root] : [rks.ca.root];
  const init = { address: parseRksAddress(rks.address), roots };
  const error = await explainByDates(options.refused ?? REFUSED, init, { ports, signal: undefined });
  expect(rks.connections).toEqual([]);
  return error;
}

test.each([
  { name: "a week behind", offMs: -7 * 24 * HOUR_MS, says: "behind" },
  { name: "ten years ahead", offMs: 87_600 * HOUR_MS, says: "ahead of" },
  { name: "in 1970", offMs: -Date.now(), says: "behind" },
])("a clock that is $name is told, with how far it is off at least", async ({ offMs, says }) => {
  const error = await explain(offMs);
  expect(error.code).toBe("CLOCK_SKEW");
  expect(error.message).toContain(` s ${says} the dates of the control plane at "127.0.0.1:`);
  expect(error.suggestion).toContain("timedatectl");
  const [seconds] = /\d+(?= s )/.exec(error.message) ?? [];
  expect(Number(seconds)).toBeGreaterThan(0);
  expect(Number(seconds)).toBeLessThanOrEqual(Math.ceil(Math.abs(offMs) / 1000));
});

test("where the dates hold the refusal has another reason", async () => {
  expect(await explain(0)).toBe(REFUSED);
});

test("a server of another root is not believed about the time", async () => {
  expect(await explain(87_600 * HOUR_MS, { isForeign: true })).toBe(REFUSED);
});

test("other errors are left alone, and nothing is asked for them", async () => {
  const refused = new RksError("SERVER_NAME_MISMATCH", "it is another");
  expect(await explain(87_600 * HOUR_MS, { refused })).toBe(refused);
});
