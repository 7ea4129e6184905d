import {
  CLOSE_CODES,
  MessageStream,
  request,
  RksError,
  type MessageType,
  type RksMessage,
} from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import type { AgentEvent } from "./agent-events.js";
import { createAgent, type CreateAgentOptions } from "./agent.js";
import type { PodRuntime } from "./runtime/pod-runtime.js";
import { KeyPair } from "./identity/key-pair.js";
import { FakePodHost, aPod } from "./testing/fake-pod-host.js";
import type { ClockBreak } from "./clock-watch/clock-watch.js";
import { quietClocks } from "./testing/quiet-clocks.js";
import { FakeRks, refusal, type FakeAnswer, type FakeRksInit } from "./testing/fake-rks.js";

const STATUS = { capacity: {}, allocatable: {}, addresses: [], conditions: [] };

async function setUp(init: Partial<FakeRksInit> = {}, options: Partial<CreateAgentOptions> = {}) {
  const clock = new FakeClock();
  const rks = await FakeRks.start({ clock, heartbeatIntervalSeconds: 7, ...init });
  const agent = await createAgent({
    rksAddress: rks.address,
    joinToken: rks.joinToken,
    nodeName: "worker-1",
    rootCertificates: [rks.ca.root],
    transport: rks.transport,
    facts: { read: () => Promise.resolve(STATUS) },
    clock,
    clockWatch: quietClocks,
    random: () => 0.5,
    ...options,
  });
  const events = agent.events()[Symbol.asyncIterator]();
  /** The next events' names, up to and including the given one. */
  const until = async (name: AgentEvent["event"]): Promise<AgentEvent[]> => {
    const seen: AgentEvent[] = [];
    for (;;) {
      const { value, done } = await events.next();
      if (done === true) return seen;
      seen.push(value);
      if (value.event === name) return seen;
    }
  };
  return { clock, rks, agent, until };
}

/** Wait until the code under test sleeps exactly so long, then let that time pass. */
async function pause(clock: FakeClock, ms: number): Promise<void> {
  while ((await clock.nextSleep()) !== ms);
  clock.advance(ms);
}

function names(events: readonly AgentEvent[]): string[] {
  return events.map(({ event }) => event);
}

/** Gives `answer` to the first `count` requests of a type. */
function atFirst(type: MessageType, count: number, answer: FakeAnswer): NonNullable<FakeRksInit["answer"]> {
  let left = count;
  return ({ message }) => (message.type === type && left-- > 0 ? answer : undefined);
}

test("an agent joins, connects, registers, sends heartbeats and says good-bye", async () => {
  const { clock, rks, agent, until } = await setUp();
  const events = await until("registered");
  expect(names(events)).toEqual(["joined", "connected", "registered"]);
  const notAfter = new Date(clock.now() + 3_600_000).toISOString();
  expect(events[2]).toMatchObject({ node: "worker-1", serial: "1003", notAfter });
  expect(agent.nodeName).toBe("worker-1");
  await pause(clock, 7000);
  await rks.received("Heartbeat");
  await pause(clock, 7000);
  await rks.received("Heartbeat", 2);
  await agent.stop();
  await agent.finished;
  expect(names(await until("stopped"))).toEqual(["stopped"]);
  const types = rks.requests.map(({ type }) => type);
  expect(types.slice(0, 4)).toEqual(["Hello", "CertificateSign", "Hello", "RegisterNode"]);
  expect(types.at(-1)).toBe("NodeStopping");
  expect(clock.pendingSleeps).toBe(0);
});

test("a lost connection is replaced with the same identity, and no token is needed", async () => {
  const { clock, rks, agent, until } = await setUp();
  const [joined] = await until("registered");
  rks.loseConnections();
  expect(names(await until("reconnecting"))).toEqual(["disconnected", "reconnecting"]);
  await pause(clock, 750);
  const again = await until("registered");
  expect(names(again)).toEqual(["connected", "registered"]);
  expect(again[1]).toMatchObject({ serial: (joined as { serial: string }).serial });
  expect(rks.requests.filter(({ type }) => type === "CertificateSign")).toHaveLength(1);
  expect(rks.connections[1]!.peerCertificates).toEqual(rks.connections[2]!.peerCertificates);
  await agent.stop();
});

test("a connection on which the control plane grants no stream any more is replaced", async () => {
  const clock = new FakeClock();
  const rks = await FakeRks.start({ clock, heartbeatIntervalSeconds: 7 });
  let left = Infinity;
  const { transport } = rks;
  const dial: typeof transport.dial = async (options) => {
    const connection = await transport.dial(options);
    const openStream = connection.openStream.bind(connection);
    const starved = (signal: AbortSignal | undefined): Promise<never> =>
      new Promise((_, reject) => {
        signal?.addEventListener("abort", () => reject(signal.reason as Error));
      });
    connection.openStream = async (more) => (left-- > 0 ? openStream(more) : starved(more?.signal));
    return connection;
  };
  const starving = { ...transport, dial };
  const { agent, until } = await setUp(
    {},
    {
      rksAddress: rks.address,
      joinToken: rks.joinToken,
      rootCertificates: [rks.ca.root],
      transport: starving,
      clock,
    },
  );
  await until("registered");
  left = 0;
  await pause(clock, 7000);
  await pause(clock, 10_000);
  left = Infinity;
  expect((await until("disconnected")).at(-1)).toMatchObject({ code: "TIMED_OUT" });
  await pause(clock, 750);
  expect(names(await until("registered")).at(-1)).toBe("registered");
  expect((await rks.connections[1]!.ended).by).toBe("peer");
  await agent.stop();
});

test("a control plane that is away is looked for every three seconds, one that refuses every half minute", async () => {
  const { clock, rks, agent, until } = await setUp();
  await until("registered");
  await rks.close();
  const pauses: number[] = [];
  for (let i = 0; i < 7; i++) {
    const last = (await until("reconnecting")).at(-1) as { delaySeconds: number };
    pauses.push(last.delaySeconds);
    await pause(clock, last.delaySeconds * 1000);
  }
  expect(pauses).toEqual([0.75, 1.25, 1.75, 1.75, 1.75, 1.75, 1.75]);
  const { delaySeconds } = (await until("reconnecting")).at(-1) as { delaySeconds: number };
  await rks.listen();
  await pause(clock, delaySeconds * 1000);
  expect(names(await until("registered"))).toEqual(["connected", "registered"]);
  await agent.stop();
});

test("an agent whose control plane is not there yet keeps trying to join", async () => {
  const clock = new FakeClock();
  const rks = await FakeRks.start({ clock });
  await rks.close();
  const agent = await createAgent({
    rksAddress: rks.address,
    joinToken: rks.joinToken,
    transport: rks.transport,
    facts: { read: () => Promise.resolve(STATUS) },
    nodeName: "worker-1",
    clock,
    random: () => 0.5,
  });
  const events = agent.events()[Symbol.asyncIterator]();
  expect((await events.next()).value).toMatchObject({
    event: "reconnecting",
    code: "UNREACHABLE",
    attempt: 1,
  });
  await rks.listen();
  await pause(clock, 750);
  expect((await events.next()).value).toMatchObject({ event: "joined" });
  await agent.stop();
});

test.each(["JOIN_TOKEN_USED", "NODE_NAME_TAKEN", "NODE_BANNED"] as const)(
  "%s ends the agent before it has joined",
  async (code) => {
    const { rks, agent, until } = await setUp({ answer: atFirst("CertificateSign", 9, refusal(code)) });
    const events = await until("error");
    expect(names(events)).toEqual(["error"]);
    expect(events[0]).toMatchObject({ code });
    await expect(agent.finished).rejects.toMatchObject({ code });
    expect(rks.connections).toHaveLength(1);
    await agent.stop();
  },
);

test.each(["NODE_BANNED", "NODE_EVICTED", "CERTIFICATE_REVOKED"] as const)(
  "a connection closed with %s ends the agent",
  async (code) => {
    const { rks, agent, until } = await setUp();
    await until("registered");
    await rks.connections[1]!.close({ code: CLOSE_CODES[code], reason: "by the operator" });
    const suggestion = expect.stringMatching(/^[A-Z].*`rks .* worker-1`.*\.$/) as string;
    expect((await until("error")).at(-1)).toMatchObject({ event: "error", code, suggestion });
    await expect(agent.finished).rejects.toMatchObject({ code });
  },
);

test("a refused registration ends the agent", async () => {
  const { agent, until } = await setUp({ answer: atFirst("RegisterNode", 9, refusal("NODE_EVICTED")) });
  expect(names(await until("error"))).toEqual(["joined", "connected", "error"]);
  await expect(agent.finished).rejects.toMatchObject({ code: "NODE_EVICTED" });
});

test("a control plane that is stopping or broken for a moment does not end the agent", async () => {
  const { rks, clock, agent, until } = await setUp({
    answer: atFirst("RegisterNode", 1, refusal("INTERNAL")),
  });
  expect((await until("reconnecting")).at(-1)).toMatchObject({ code: "INTERNAL" });
  await pause(clock, 750);
  await until("registered");
  await rks.connections.at(-1)!.close({ code: CLOSE_CODES.UNAVAILABLE, reason: "stopping" });
  expect((await until("reconnecting")).at(-1)).toMatchObject({ code: "UNAVAILABLE" });
  await agent.stop();
});

test("a certificate that expires while the control plane is away is final and says how to come back", async () => {
  const { rks, clock, agent, until } = await setUp({ certificateLifetimeMs: 60_000 });
  await until("registered");
  await rks.close();
  await until("reconnecting");
  await pause(clock, 750);
  expect((await until("reconnecting")).at(-1)).toMatchObject({ code: "UNREACHABLE" });
  clock.advance(60_000);
  const last = (await until("error")).at(-1);
  expect(last).toMatchObject({ code: "CERTIFICATE_EXPIRED" });
  expect((last as { suggestion: string }).suggestion).toContain("rks node rejoin worker-1");
  expect((last as { message: string }).message).toContain("could not be renewed");
  await expect(agent.finished).rejects.toMatchObject({ code: "CERTIFICATE_EXPIRED" });
});

test("after a sleep or a jump of the clock the certificate is renewed at once, and the event says which it was", async () => {
  const breaks: ((clockBreak: ClockBreak) => void)[] = [];
  const { agent, until, rks } = await setUp(
    {},
    {
      clockWatch: async (onBreak, options) => {
        breaks.push(onBreak);
        return quietClocks(onBreak, options);
      },
    },
  );
  await until("registered");
  breaks[0]!({ pausedMs: 0, shiftedMs: -600_000 });
  const events = await until("renewed");
  expect(events[0]).toMatchObject({ event: "clock", pausedSeconds: 0, shiftedSeconds: -600 });
  await agent.stop();
  expect(rks.requests.filter(({ type }) => type === "CertificateRenew")).toHaveLength(1);
});

test("a process that stood still says so and renews nothing that is not due", async () => {
  const breaks: ((clockBreak: ClockBreak) => void)[] = [];
  const { clock, agent, until, rks } = await setUp(
    {},
    {
      clockWatch: async (onBreak, options) => {
        breaks.push(onBreak);
        return quietClocks(onBreak, options);
      },
    },
  );
  await until("registered");
  breaks[0]!({ pausedMs: 60_000, shiftedMs: 0 });
  expect((await until("clock")).at(-1)).toMatchObject({ pausedSeconds: 60, shiftedSeconds: 0 });
  await pause(clock, 7000);
  await rks.received("Heartbeat");
  await agent.stop();
  expect(rks.requests.filter(({ type }) => type === "CertificateRenew")).toHaveLength(0);
});

test("a control plane that does not answer heartbeats any more is left for a new connection", async () => {
  const { clock, agent, until } = await setUp({ answer: atFirst("Heartbeat", 1, "silence") });
  await until("registered");
  await pause(clock, 7000);
  await pause(clock, 10_000);
  expect((await until("reconnecting")).at(-1)).toMatchObject({ code: "TIMED_OUT" });
  await agent.stop();
});

test("a control plane that is busy keeps its connection", async () => {
  const { clock, rks, agent, until } = await setUp({ answer: atFirst("Heartbeat", 1, refusal("BUSY")) });
  await until("registered");
  await pause(clock, 7000);
  await rks.received("Heartbeat");
  await pause(clock, 7000);
  await rks.received("Heartbeat", 2);
  expect(rks.connections).toHaveLength(2);
  await agent.stop();
});

test("pods come, are reported, show their logs and go", async () => {
  const pods = new FakePodHost();
  const { clock, rks, agent, until } = await setUp({}, { pods });
  await until("registered");
  const [, connection] = rks.connections;
  const ask = async (message: RksMessage) => request(connection!, message, "Ack", { clock });
  await ask({ type: "CreatePod", pod: aPod("web") });
  expect([...pods.pods.keys()]).toEqual(["web"]);
  expect((await until("pod")).at(-1)).toMatchObject({ name: "web", phase: "Running", uid: "uid-web" });
  await rks.received("UpdatePodStatus");
  expect(rks.requests.at(-1)).toMatchObject({
    type: "UpdatePodStatus",
    name: "web",
    status: { phase: "Running" },
  });

  const logs = new MessageStream(await connection!.openStream());
  await logs.send({ type: "GetPodLogs", namespace: "default", name: "web", follow: false });
  logs.end();
  expect((await logs.receiveMessage()).message).toEqual({ type: "PodLogs", container: "main" });
  let text = "";
  for (let part = await logs.receive(); part !== undefined; part = await logs.receive()) {
    if (part.kind === "bytes") text += Buffer.from(part.bytes).toString();
  }
  expect(text).toBe("hello from web\nbye\n");

  await ask({ type: "DeletePod", namespace: "default", name: "web" });
  expect(pods.pods.size).toBe(0);
  await agent.stop();
});

test("pods that are here already are reported at registration, and again after a reconnect", async () => {
  const pods = new FakePodHost();
  pods.pods.set("old", aPod("old"));
  const { clock, rks, agent, until } = await setUp({}, { pods });
  await until("registered");
  expect(rks.requests.at(-1)).toMatchObject({
    type: "RegisterNode",
    pods: [{ name: "old", uid: "uid-old" }],
  });
  pods.pods.set("new", aPod("new"));
  rks.loseConnections();
  await until("reconnecting");
  await pause(clock, 750);
  await until("registered");
  const last = rks.requests.findLast(({ type }) => type === "RegisterNode");
  expect(last).toMatchObject({ pods: [{ name: "old" }, { name: "new" }] });
  await agent.stop();
});

test("a status that the control plane could not take now is sent again, the newest only", async () => {
  const pods = new FakePodHost();
  const { clock, rks, agent, until } = await setUp(
    { answer: atFirst("UpdatePodStatus", 1, refusal("UNAVAILABLE")) },
    { pods },
  );
  await until("registered");
  pods.report("web", "Pending");
  await rks.received("UpdatePodStatus");
  while ((await clock.nextSleep()) !== 1000);
  pods.report("web", "Running");
  await until("pod");
  await until("pod");
  clock.advance(1000);
  await rks.received("UpdatePodStatus", 2);
  expect(rks.requests.at(-1)).toMatchObject({ status: { phase: "Running" } });
  await agent.stop();
});

test("a status of a pod that is not this node's any more is dropped, and nothing else happens", async () => {
  const pods = new FakePodHost();
  const { rks, agent, until } = await setUp(
    { answer: atFirst("UpdatePodStatus", 1, refusal("PERMISSION_DENIED")) },
    { pods },
  );
  await until("registered");
  pods.report("moved", "Running");
  pods.report("mine", "Running");
  await rks.received("UpdatePodStatus", 2);
  expect(rks.requests.at(-1)).toMatchObject({ name: "mine" });
  expect(rks.connections).toHaveLength(2);
  await agent.stop();
});

test("a runtime that does not work costs no token", async () => {
  const runtime = {
    info: () => Promise.reject(new RksError("RUNTIME_FAILED", "the runtime is broken")),
  } as unknown as PodRuntime;
  const { rks, agent } = await setUp({}, { runtime });
  await expect(agent.finished).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
  expect(rks.connections).toEqual([]);
});

test("an agent without a runtime refuses pods", async () => {
  const { clock, rks, agent, until } = await setUp();
  await until("registered");
  const work = request(rks.connections[1]!, { type: "CreatePod", pod: aPod("web") }, "Ack", { clock });
  await expect(work).rejects.toMatchObject({ code: "UNSUPPORTED" });
  await agent.stop();
});

test("handlers of the caller's come before the agent's own", async () => {
  const created: string[] = [];
  const handlers: CreateAgentOptions["handlers"] = {
    CreatePod({ pod }) {
      created.push(pod.metadata.name);
    },
    DeletePod() {
      throw new Error("a defect with a secret in it");
    },
  };
  const { clock, rks, agent, until } = await setUp({}, { handlers });
  await until("registered");
  const [, connection] = rks.connections;
  await request(connection!, { type: "CreatePod", pod: aPod("mine") }, "Ack", { clock });
  expect(created).toEqual(["mine"]);
  const work = request(connection!, { type: "DeletePod", namespace: "default", name: "mine" }, "Ack", {
    clock,
  });
  await expect(work).rejects.toMatchObject({ code: "INTERNAL", message: "an internal error occurred" });
  await agent.stop();
});

test.each([
  { name: "garbage", bytes: [0, 0, 0, 2, 1, 65], code: "MESSAGE_INVALID" },
  { name: "an unknown message", bytes: [0, 0, 0, 8, 1, ...Buffer.from('"Dance"')], code: "MESSAGE_UNKNOWN" },
  { name: "half a frame", bytes: [0, 0, 0, 9, 1], code: "MESSAGE_TRUNCATED" },
  { name: "a giant frame", bytes: [255, 0, 0, 0, 1], code: "MESSAGE_TOO_LARGE" },
  {
    name: "a message that only agents send",
    bytes: [0, 0, 0, 6, 1, ...Buffer.from('"Ack"')],
    code: "MESSAGE_UNEXPECTED",
  },
])("a request that is $name gets $code and harms nothing", async ({ bytes, code }) => {
  const { clock, rks, agent, until } = await setUp();
  await until("registered");
  const stream = await rks.connections[1]!.openStream();
  await stream.write(Uint8Array.from(bytes));
  stream.end();
  expect((await new MessageStream(stream).receiveMessage()).message).toMatchObject({ type: "Error", code });
  await pause(clock, 7000);
  await rks.received("Heartbeat");
  await agent.stop();
});

test.each(["Hello", "CertificateSign", "RegisterNode"] as const)(
  "stopping while the control plane is silent after %s takes no time",
  async (type) => {
    const { clock, rks, agent, until } = await setUp({
      answer: ({ message }) => (message.type === type ? "silence" : undefined),
    });
    await rks.received(type);
    await agent.stop();
    await agent.finished;
    expect((await until("stopped")).at(-1)).toMatchObject({ event: "stopped" });
    expect(clock.pendingSleeps).toBe(0);
  },
);

test("an aborted signal stops the agent, and its key is wiped", async () => {
  const controller = new AbortController();
  const keyPair = KeyPair.create();
  const { agent, until } = await setUp({}, { signal: controller.signal, keyPair });
  await until("registered");
  controller.abort();
  await agent.finished;
  expect(names(await until("stopped"))).toEqual(["stopped"]);
  expect(() => keyPair.exportPrivateKey()).toThrow(TypeError);
});

test("a good-bye that nobody hears takes two seconds at most", async () => {
  const { clock, agent, until } = await setUp({ answer: atFirst("NodeStopping", 1, "silence") });
  await until("registered");
  const stopped = agent.stop();
  await pause(clock, 2000);
  await expect(stopped).resolves.toBeUndefined();
});

test("events have one reader", async () => {
  const { agent, until } = await setUp();
  await until("joined");
  await expect(agent.events()[Symbol.asyncIterator]().next()).rejects.toThrow(TypeError);
  await agent.stop();
});

/** Two control planes of one cluster, and an agent that knows both; it turns to the first one first. */
async function setUpTwo(init: Partial<FakeRksInit> = {}) {
  const clock = new FakeClock();
  const first = await FakeRks.start({ clock, ...init });
  const second = await FakeRks.start({ clock, ca: first.ca, transport: first.transport });
  const rksAddress = `${first.address},${second.address}`;
  const agent = await createAgent({
    rksAddress,
    joinToken: first.joinToken,
    nodeName: "worker-1",
    rootCertificates: [first.ca.root],
    transport: first.transport,
    facts: { read: () => Promise.resolve(STATUS) },
    clock,
    clockWatch: quietClocks,
    random: () => 0.5,
  });
  const events = agent.events()[Symbol.asyncIterator]();
  const until = async (name: AgentEvent["event"]): Promise<AgentEvent> => {
    for (;;) {
      const { value, done } = await events.next();
      if (done === true) throw new Error(`no ${name} came`);
      if (value.event === name) return value;
    }
  };
  return { clock, first, second, agent, until };
}

test("when its control plane is gone an agent turns to the other one at once, with the same certificate", async () => {
  const { clock, first, second, agent, until } = await setUpTwo();
  expect(await until("connected")).toMatchObject({ rksAddress: first.address });
  const { serial } = (await until("registered")) as { serial?: string };
  await first.close();
  // Half of the way from 50 ms to 300 ms.
  await pause(clock, 175);
  expect(await until("connected")).toMatchObject({ rksAddress: second.address });
  expect(await until("registered")).toMatchObject({ serial });
  expect(second.requests.map(({ type }) => type)).not.toContain("CertificateSign");
  await agent.stop();
});

test("a join goes on with the other control plane when the first one is sealed", async () => {
  const { clock, second, agent, until } = await setUpTwo({
    answer: ({ message }) => (message.type === "CertificateSign" ? refusal("VAULT_SEALED") : undefined),
  });
  // Half of the way from 50 ms to 300 ms.
  await pause(clock, 175);
  await until("joined");
  expect(await until("connected")).toMatchObject({ rksAddress: second.address });
  await agent.stop();
});
