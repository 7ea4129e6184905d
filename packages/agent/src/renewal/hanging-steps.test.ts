import { afterEach, expect, test, vi } from "vitest";
import type { AgentEvent } from "../agent-events.js";
import type { CreateAgentOptions } from "../agent.js";
import type { IdentityStash } from "../identity/identity-stash.js";
import {
  answering,
  aRenewingNode,
  DUE_MS,
  LIFETIME_MS,
  names,
  pause,
  requestsOf,
  RETRY_MS,
  TIMEOUT_MS,
  type RenewingNode,
} from "../testing/a-renewing-node.js";
import type { FakeRks, FakeRksInit } from "../testing/fake-rks.js";
import { stepTimeoutMs } from "./renewal-schedule.js";

afterEach(() => {
  vi.restoreAllMocks();
});

const NEVER = new Promise<never>(() => undefined);
const STATUS = { capacity: {}, allocatable: {}, addresses: [], conditions: [] };

/** The next dials hang, whatever their signals say. Resolves with each that begins. */
function hangDials(rks: FakeRks, count: number): () => Promise<void> {
  const begun: (() => void)[] = [];
  const waits = Array.from({ length: count }, () => new Promise<void>((resolve) => begun.push(resolve)));
  const dial = vi.spyOn(rks.transport, "dial");
  for (const begin of begun) {
    dial.mockImplementationOnce(async () => {
      begin();
      return NEVER;
    });
  }
  return async () => waits.shift();
}

interface Hang {
  readonly step: string;
  readonly init?: Partial<FakeRksInit>;
  readonly options?: () => Partial<CreateAgentOptions> & { readonly begun?: Promise<void> };
  /** Arranges for the hang; resolves when the step has begun. */
  readonly begun: (node: RenewingNode) => Promise<void>;
}

/** What the node says of itself; the second time it takes for ever, as a disk of another host does. */
function factsThatHang(): Pick<CreateAgentOptions, "facts"> & { readonly asked: Promise<void> } {
  let count = 0;
  let ask = (): void => undefined;
  const asked = new Promise<void>((resolve) => (ask = resolve));
  const read = async (): Promise<typeof STATUS> => {
    if (++count !== 2) return STATUS;
    ask();
    return NEVER;
  };
  return { facts: { read }, asked };
}

const FACTS = factsThatHang();

const HANGS: readonly Hang[] = [
  {
    step: "the answer to the request",
    init: { answer: answering("CertificateRenew", "silence") },
    begun: async ({ rks }) => rks.received("CertificateRenew"),
  },
  { step: "the dial", begun: async ({ rks }) => hangDials(rks, 1)() },
  {
    step: "the Welcome",
    init: { answer: answering("Hello", "silence", { from: 3 }) },
    begun: async ({ rks }) => rks.received("Hello", 3),
  },
  {
    step: "the answer to the registration",
    init: { answer: answering("RegisterNode", "silence", { from: 2 }) },
    begun: async ({ rks }) => rks.received("RegisterNode", 2),
  },
  { step: "reading the host's facts", options: () => FACTS, begun: async () => FACTS.asked },
];

test.each(HANGS)(
  "a renewal in which $step hangs is tried again in time",
  async ({ init, options, begun }) => {
    const node = await aRenewingNode(init, options?.());
    const { clock, agent, until, warnings, rks } = node;
    const hangs = begun(node);
    await pause(clock, DUE_MS);
    await hangs;
    await pause(clock, TIMEOUT_MS);
    await pause(clock, RETRY_MS);
    expect(names(await until("renewed"))).toEqual(["renewed"]);
    expect(new Set(requestsOf(rks)).size).toBe(1);
    expect(warnings).toEqual(["Certificate could not be renewed yet (TIMED_OUT)"]);
    await agent.stop();
  },
);

test("a certificate of six seconds has room for three tries that hang", async () => {
  const { clock, rks, agent, until, warnings } = await aRenewingNode({ certificateLifetimeMs: 6000 });
  const nextHang = hangDials(rks, 3);
  let leftMs = 6000 - 1800;
  await pause(clock, 1800);
  for (let i = 0; i < 3; i++) {
    await nextHang();
    await pause(clock, stepTimeoutMs(leftMs));
    leftMs -= stepTimeoutMs(leftMs);
    const pauseMs = await clock.nextSleep();
    expect(pauseMs).toBeLessThanOrEqual(150);
    clock.advance(pauseMs);
    leftMs -= pauseMs;
  }
  expect(names(await until("renewed"))).toEqual(["renewed"]);
  expect(warnings).toHaveLength(3);
  await agent.stop();
});

test("a stash that hangs costs a renewal half a second, once, and gets the newest state when it goes on", async () => {
  const saved: string[] = [];
  let goOn = (): void => undefined;
  let hangs = false;
  let begin = (): void => undefined;
  const begun = new Promise<void>((resolve) => (begin = resolve));
  const stash: IdentityStash = {
    load: () => Promise.resolve(undefined),
    clear: () => Promise.resolve(),
    async save({ current, pending }) {
      const what = [current, pending].map((key) => (key?.answer ? "certificate" : key ? "key" : "nothing"));
      saved.push(what.join(", "));
      if (!hangs) return;
      hangs = false;
      begin();
      await new Promise<void>((resolve) => (goOn = resolve));
    },
  };
  const { clock, agent, until, warnings } = await aRenewingNode({}, { stash });
  saved.length = 0;
  hangs = true;
  await pause(clock, DUE_MS);
  await begun;
  await pause(clock, 500);
  expect(names(await until("renewed"))).toEqual(["renewed"]);
  expect(warnings).toHaveLength(1);
  expect(saved).toEqual(["certificate, key"]);
  goOn();
  await new Promise(setImmediate);
  expect(saved).toEqual(["certificate, key", "certificate, nothing"]);
  await agent.stop();
});

test("a new connection that hangs leaves time for another one before the certificate ends", async () => {
  const { clock, rks, agent, until } = await aRenewingNode();
  clock.advance(DUE_MS - 1000);
  const nextHang = hangDials(rks, 1);
  rks.loseConnections();
  await until("reconnecting");
  await pause(clock, 500);
  await nextHang();
  await pause(clock, stepTimeoutMs(LIFETIME_MS - DUE_MS + 500));
  expect((await until("reconnecting")).at(-1)).toMatchObject({ code: "TIMED_OUT" });
  await agent.stop();
});

test("pauses between connections leave time for more of them, and a certificate that is due by then is renewed at once", async () => {
  const { clock, rks, agent, until } = await aRenewingNode({}, { random: () => 0.999 });
  await rks.close();
  let leftMs = LIFETIME_MS;
  let event: AgentEvent | undefined;
  for (let tries = 1; leftMs > 1000; tries++) {
    event = (await until("reconnecting")).at(-1);
    const { delaySeconds } = event as { readonly delaySeconds: number };
    expect(delaySeconds * 1000).toBeLessThanOrEqual(leftMs / 8 + 1);
    await pause(clock, delaySeconds * 1000);
    leftMs -= delaySeconds * 1000;
    expect(tries).toBeLessThan(100);
  }
  const { delaySeconds } = (await until("reconnecting")).at(-1) as { readonly delaySeconds: number };
  await rks.listen();
  await pause(clock, delaySeconds * 1000);
  expect(names(await until("renewed"))).toEqual(["connected", "registered", "renewed"]);
  await agent.stop();
});
