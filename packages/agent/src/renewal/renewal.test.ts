import { CLOSE_CODES, type Logger, type MessageType } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import type { AgentEvent } from "../agent-events.js";
import { createAgent, type CreateAgentOptions } from "../agent.js";
import { FakeRks, type FakeRksInit } from "../testing/fake-rks.js";

const STATUS = { capacity: {}, allocatable: {}, addresses: [], conditions: [] };
const LIFETIME_MS = 15_000;
/** With `random` at nothing, a certificate is renewed after this, in whole seconds as a certificate's dates are. */
const DUE_MS = 9000;

/** A node with certificates of fifteen seconds that has registered. */
async function setUp(init: Partial<FakeRksInit> = {}, options: Partial<CreateAgentOptions> = {}) {
  const clock = new FakeClock();
  const rks = await FakeRks.start({
    clock,
    heartbeatIntervalSeconds: 1000,
    certificateLifetimeMs: LIFETIME_MS,
    ...init,
  });
  const warnings: string[] = [];
  const logger: Logger = {
    debug() {},
    info() {},
    error: (message) => void warnings.push(message),
    warn: (message, fields) => void warnings.push(`${message}: ${String(fields?.["code"])}`),
  };
  const agent = await createAgent({
    rksAddress: rks.address,
    joinToken: rks.joinToken,
    nodeName: "worker-1",
    rootCertificates: [rks.ca.root],
    transport: rks.transport,
    facts: { read: () => Promise.resolve(STATUS) },
    clock,
    logger,
    random: () => 0,
    ...options,
  });
  const events = agent.events()[Symbol.asyncIterator]();
  /** The next events, up to and including the given one. */
  const until = async (name: AgentEvent["event"]): Promise<AgentEvent[]> => {
    const seen: AgentEvent[] = [];
    for (;;) {
      const { value, done } = await events.next();
      if (done === true) return seen;
      seen.push(value);
      if (value.event === name) return seen;
    }
  };
  await until("registered");
  return { clock, rks, agent, until, warnings };
}

/** Wait until the code under test sleeps exactly so long, then let that time pass. */
async function pause(clock: FakeClock, ms: number): Promise<void> {
  while ((await clock.nextSleep()) !== ms);
  clock.advance(ms);
}

function names(events: readonly AgentEvent[]): string[] {
  return events.map(({ event }) => event);
}

function typesOf(rks: FakeRks): MessageType[] {
  return rks.requests.map(({ type }) => type);
}

/** The requests for a certificate that the node has sent. */
function renewals(rks: FakeRks): { readonly csr: string }[] {
  return rks.requests.flatMap((message) =>
    message.type === "CertificateRenew" ? [{ csr: Buffer.from(message.csr).toString("hex") }] : [],
  );
}

test("at two thirds of its lifetime a certificate is renewed inside the session, and the node is handed over", async () => {
  const { clock, rks, agent, until } = await setUp();
  await pause(clock, DUE_MS);
  const events = await until("renewed");
  expect(names(events)).toEqual(["renewed"]);
  const notAfter = new Date(clock.now() + LIFETIME_MS).toISOString();
  const renewAt = new Date(clock.now() + DUE_MS).toISOString();
  const { current: serial } = rks.serialsOf("worker-1");
  expect(events[0]).toMatchObject({ node: "worker-1", serial, notAfter, renewAt });
  expect(typesOf(rks).slice(4)).toEqual(["CertificateRenew", "Hello", "RegisterNode"]);
  const [, old, renewed] = rks.connections;
  expect(renewed!.peerCertificates).not.toEqual(old!.peerCertificates);
  // The old connection is closed once nothing has been asked over it for a second.
  await pause(clock, 1000);
  expect(await old!.ended).toMatchObject({ by: "peer", code: CLOSE_CODES.DONE });
  await agent.stop();
  expect(typesOf(rks).at(-1)).toBe("NodeStopping");
  expect(clock.pendingSleeps).toBe(0);
});

test("twenty generations follow each other, each with a new key, without a lost connection", async () => {
  const { clock, rks, agent, until } = await setUp();
  for (let generation = 1; generation <= 20; generation++) {
    await pause(clock, DUE_MS);
    expect(names(await until("renewed"))).toEqual(["renewed"]);
  }
  expect(new Set(renewals(rks).map(({ csr }) => csr)).size).toBe(20);
  await agent.stop();
});
