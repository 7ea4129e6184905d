import type { Logger, MessageType } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import type { AgentEvent } from "../agent-events.js";
import { createAgent, type Agent, type CreateAgentOptions } from "../agent.js";
import { FakeRks, type FakeAnswer, type FakeRksInit } from "./fake-rks.js";
import { quietClocks } from "./quiet-clocks.js";

export const LIFETIME_MS = 15_000;
/** With `random` at nothing a certificate is renewed after this: in whole seconds, as a certificate's dates are. */
export const DUE_MS = 9000;
/** The first pause after a failed renewal. */
export const RETRY_MS = 375;
/** How long each step of a renewal may take at first: a third of what is left of the certificate. */
export const TIMEOUT_MS = 2000;

export const NODE = "worker-1";
const STATUS = { capacity: {}, allocatable: {}, addresses: [], conditions: [] };

/** A node whose certificates live fifteen seconds, with its control plane. */
export interface RenewingNode {
  readonly clock: FakeClock;
  readonly rks: FakeRks;
  readonly agent: Agent;
  /** What was logged as a warning or worse, with its code. */
  readonly warnings: readonly string[];
  /** The next events, up to and including the given one. */
  until(name: AgentEvent["event"]): Promise<AgentEvent[]>;
}

/** A node that has registered and has nothing else to do: its heartbeats are far apart. */
export async function aRenewingNode(
  init: Partial<FakeRksInit> = {},
  options: Partial<CreateAgentOptions> = {},
): Promise<RenewingNode> {
  const clock = new FakeClock();
  const rks = await FakeRks.start({
    clock,
    heartbeatIntervalSeconds: 1000,
    certificateLifetimeMs: LIFETIME_MS,
    ...init,
  });
  const warnings: string[] = [];
  const warn: Logger["warn"] = (message, fields) =>
    void warnings.push(`${message} (${String(fields?.["code"])})`);
  const agent = await createAgent({
    rksAddress: rks.address,
    joinToken: rks.joinToken,
    nodeName: NODE,
    rootCertificates: [rks.ca.root],
    transport: rks.transport,
    facts: { read: () => Promise.resolve(STATUS) },
    clock,
    clockWatch: quietClocks,
    logger: { debug() {}, info() {}, warn, error: warn },
    random: () => 0,
    ...options,
  });
  const events = agent.events()[Symbol.asyncIterator]();
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
export async function pause(clock: FakeClock, ms: number): Promise<void> {
  while ((await clock.nextSleep()) !== ms);
  clock.advance(ms);
}

export function names(events: readonly AgentEvent[]): string[] {
  return events.map(({ event }) => event);
}

/** Gives `answer` to the requests of a type from number `from` on, `count` of them; others get the usual one. */
export function answering(
  type: MessageType,
  answer: FakeAnswer,
  { from = 1, count = 1 }: { readonly from?: number; readonly count?: number } = {},
): NonNullable<FakeRksInit["answer"]> {
  let seen = 0;
  return ({ message }) => {
    if (message.type !== type) return undefined;
    seen++;
    return seen >= from && seen < from + count ? answer : undefined;
  };
}

/** What was asked since the node had registered first. */
export function typesOf(rks: FakeRks): MessageType[] {
  return rks.requests.slice(4).map(({ type }) => type);
}

/** The certification requests that the node has sent to renew, in hexadecimal digits. */
export function requestsOf(rks: FakeRks): string[] {
  return rks.requests.flatMap((message) =>
    message.type === "CertificateRenew" ? [Buffer.from(message.csr).toString("hex")] : [],
  );
}
