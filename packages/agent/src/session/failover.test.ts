import { CLOSE_CODES, type RksMessage } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import type { AgentEvent } from "../agent-events.js";
import { createAgent } from "../agent.js";
import { FakeRks, refusal } from "../testing/fake-rks.js";
import { quietClocks } from "../testing/quiet-clocks.js";

const STATUS = { capacity: {}, allocatable: {}, addresses: [], conditions: [] };

/** An agent of two control planes that has registered with the first; its draws are the longest ones. */
async function aNodeOfTwo() {
  const clock = new FakeClock();
  /** What registrations with the first are answered. */
  let refused: RksMessage | undefined;
  const first = await FakeRks.start({
    clock,
    heartbeatIntervalSeconds: 1000,
    answer: ({ message }) => (message.type === "RegisterNode" ? refused : undefined),
  });
  const { transport, ca } = first;
  const second = await FakeRks.start({ clock, transport, ca, heartbeatIntervalSeconds: 1000 });
  const agent = await createAgent({
    rksAddress: `${first.address},${second.address}`,
    joinToken: first.joinToken,
    nodeName: "worker-1",
    rootCertificates: [ca.root],
    transport,
    facts: { read: () => Promise.resolve(STATUS) },
    clock,
    clockWatch: quietClocks,
    random: () => 0.999_999,
  });
  const events = agent.events()[Symbol.asyncIterator]();
  const next = async (): Promise<AgentEvent> => (await events.next()).value as AgentEvent;
  /** Pass the time until the node has registered; how much that was, in milliseconds. */
  const untilRegistered = async (): Promise<number> => {
    const fromMs = clock.monotonicMs();
    for (;;) {
      const seen = await next();
      if (seen.event === "registered") return clock.monotonicMs() - fromMs;
      if (seen.event === "reconnecting") await pause(clock, seen.delaySeconds * 1000);
    }
  };
  await untilRegistered();
  const refuseAtFirst = (answer: RksMessage): void => void (refused = answer);
  return { clock, first, second, agent, next, untilRegistered, refuseAtFirst };
}

async function pause(clock: FakeClock, ms: number): Promise<void> {
  while ((await clock.nextSleep()) !== ms);
  clock.advance(ms);
}

test.each(["INTERNAL", "UNAVAILABLE"] as const)(
  "after twelve control planes in a row that ended with %s a node is registered with the next within a second",
  async (code) => {
    const { first, second, agent, untilRegistered } = await aNodeOfTwo();
    for (let death = 0; death < 12; death += 1) {
      const dying = death % 2 === 0 ? first : second;
      await dying.connections.at(-1)!.close({ code: CLOSE_CODES[code], reason: "it dies" });
      expect(await untilRegistered()).toBeLessThanOrEqual(1000);
    }
    await agent.stop();
  },
);

test("one that is busy for ever keeps no node from another one that comes back", async () => {
  const { clock, first, second, agent, next, untilRegistered, refuseAtFirst } = await aNodeOfTwo();
  await second.close();
  refuseAtFirst(refusal("BUSY"));
  await first.connections.at(-1)!.close({ code: CLOSE_CODES.UNAVAILABLE, reason: "it restarts" });
  const untilBusy = async (): Promise<number> => {
    for (;;) {
      const seen = await next();
      if (seen.event !== "reconnecting") continue;
      const delayMs = seen.delaySeconds * 1000;
      if (clock.monotonicMs() > 300_000 && seen.code === "BUSY") return delayMs;
      await pause(clock, delayMs);
    }
  };
  const delayMs = await untilBusy();
  await second.listen();
  await pause(clock, delayMs);
  expect(delayMs + (await untilRegistered())).toBeLessThanOrEqual(3000);
  await agent.stop();
});
