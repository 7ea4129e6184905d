import { parseJoinToken, RksError, silentLogger, type Message } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { createAgent, type Agent, type CreateAgentOptions } from "../agent.js";
import type { AgentEvent } from "../agent-events.js";
import { FakeRks, refusal, type FakeRksInit } from "../testing/fake-rks.js";
import { MemoryStash } from "../testing/memory-stash.js";
import { canResume } from "./resume.js";

const STATUS = { capacity: {}, allocatable: {}, addresses: [], conditions: [] };

async function setUp(init: Partial<FakeRksInit> = {}) {
  const clock = new FakeClock();
  const rks = await FakeRks.start({ clock, ...init });
  const stash = new MemoryStash();
  const start = async (options: Partial<CreateAgentOptions> = {}): Promise<Agent> =>
    createAgent({
      rksAddress: rks.address,
      nodeName: "worker-1",
      transport: rks.transport,
      facts: { read: () => Promise.resolve(STATUS) },
      clock,
      random: () => 0.5,
      stash,
      ...options,
    });
  return { clock, rks, stash, start, joinToken: rks.joinToken };
}

async function until(agent: Agent, name: AgentEvent["event"]): Promise<string[]> {
  const seen: string[] = [];
  for await (const { event } of agent.events()) {
    seen.push(event);
    if (event === name) break;
  }
  return seen;
}

test("the key is kept before the request leaves, the certificate before its first use", async () => {
  const order: string[] = [];
  const { rks, stash, start, joinToken } = await setUp({
    answer: ({ message }) => {
      if (message.type === "CertificateSign" || message.type === "RegisterNode") {
        order.push(`${message.type} with ${JSON.stringify(shapeOf(stash))}`);
      }
      return undefined;
    },
  });
  await using agent = await start({ joinToken });
  await until(agent, "registered");

  expect(order).toEqual([
    'CertificateSign with {"token":true,"pending":true,"current":false}',
    'RegisterNode with {"token":false,"pending":false,"current":true}',
  ]);
  const request = rks.requests.find((message): message is Message<"CertificateSign"> => {
    return message.type === "CertificateSign";
  })!;
  const [joining, joined] = stash.history;
  expect(joining!.pending!.csr).toEqual(request.csr);
  expect(joined!.current!.pkcs8).toEqual(joining!.pending!.pkcs8);
  expect(joined!.instanceId).toBe(joining!.instanceId);
  expect(joined!.nodeName).toBe("worker-1");
});

function shapeOf(stash: MemoryStash): object {
  const state = stash.history.at(-1);
  return {
    token: state?.joinToken !== undefined,
    pending: state?.pending !== undefined,
    current: state?.current?.answer !== undefined,
  };
}

test("an agent that finds a kept identity goes on as the same node and uses no token", async () => {
  const { rks, stash, start, joinToken } = await setUp();
  const first = await start({ joinToken });
  await until(first, "registered");
  await first.stop();

  await using second = await start();
  expect(await until(second, "registered")).toEqual(["resumed", "connected", "registered"]);

  expect(rks.requests.filter(({ type }) => type === "CertificateSign")).toHaveLength(1);
  expect(rks.connections.at(-1)!.peerCertificates[0]).toEqual(rks.connections[1]!.peerCertificates[0]);
  expect(await canResume({ stash, rksAddress: rks.address })).toBe(true);
});

test("a join that was cut off goes on with the same key, the same request and the same token", async () => {
  let answers = 0;
  const { rks, start, joinToken } = await setUp({
    answer: ({ message }) => (message.type === "CertificateSign" && answers++ === 0 ? "silence" : undefined),
  });
  const first = await start({ joinToken });
  await rks.received("CertificateSign");
  await first.stop();

  await using second = await start({ joinToken: undefined });
  expect(await until(second, "registered")).toEqual(["joined", "connected", "registered"]);

  const sent = rks.requests.filter((message) => message.type === "CertificateSign");
  expect(sent).toHaveLength(2);
  expect(sent[1]!.csr).toEqual(sent[0]!.csr);
  expect(sent[1]!.tokenId).toBe(parseJoinToken(joinToken).id);
});

test.each([
  { name: "of another control plane", options: { rksAddress: "127.0.0.1:9" } },
  { name: "of another node", options: { nodeName: "worker-2" } },
])("an identity $name is left alone", async ({ options }) => {
  const { rks, stash, start, joinToken } = await setUp();
  const first = await start({ joinToken });
  await until(first, "registered");
  await first.stop();

  expect(await canResume({ stash, rksAddress: rks.address, ...options })).toBe(false);
  await expect(start(options)).rejects.toMatchObject({ code: "USAGE_INVALID" });
});

test("what cannot be read counts as nothing, and the token is used", async () => {
  const { stash, start, joinToken } = await setUp();
  const first = await start({ joinToken });
  await until(first, "registered");
  await first.stop();
  const kept = (await stash.load())!;
  await stash.save({ ...kept, current: { ...kept.current!, answer: new TextEncoder().encode('"Ack"') } });

  await using second = await start({ joinToken, nodeName: undefined });
  expect((await until(second, "registered"))[0]).toBe("joined");
});

test("a stash that fails costs a warning and nothing else", async () => {
  const { stash, start, joinToken } = await setUp();
  stash.failure = new RksError("UNAVAILABLE", "the pipe is full");
  const warnings: unknown[] = [];
  const logger = { ...silentLogger, warn: (text: string, fields?: object) => warnings.push([text, fields]) };
  await using agent = await start({ joinToken, logger });
  await until(agent, "registered");

  expect(warnings).toEqual([
    [expect.stringContaining("would not survive a crash"), { reason: "the pipe is full" }],
  ]);
});

test("a join that is refused for good is refused as before", async () => {
  const { start, joinToken } = await setUp({
    answer: ({ message }) => (message.type === "CertificateSign" ? refusal("JOIN_TOKEN_USED") : undefined),
  });
  const agent = await start({ joinToken });
  await expect(agent.finished).rejects.toMatchObject({ code: "JOIN_TOKEN_USED" });
});
