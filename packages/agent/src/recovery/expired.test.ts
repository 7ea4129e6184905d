import { expect, test } from "vitest";
import type { AgentEvent } from "../agent-events.js";
import { rootPin } from "../identity/trust.js";
import { aRenewingNode, names, NODE, pause, type RenewingNode } from "../testing/a-renewing-node.js";
import { refusal, type FakeRksInit } from "../testing/fake-rks.js";
import type { NodeMemory, RememberedNode } from "./node-memory.js";

/** Remembers one node. */
class TestMemory implements NodeMemory {
  node: RememberedNode | undefined;

  load(): Promise<RememberedNode | undefined> {
    return Promise.resolve(this.node);
  }

  save(node: RememberedNode): Promise<void> {
    this.node = node;
    return Promise.resolve();
  }
}

/** A node that was given a grant after it had joined, and whose control plane has gone away. */
async function aNodeLeftAlone(init: Partial<FakeRksInit>, grantsLeft: number): Promise<RenewingNode> {
  const memory = new TestMemory();
  const recovery = { memory, methods: [], machineIdSha256: new Uint8Array(32) };
  const node = await aRenewingNode(init, { recovery });
  const { rks } = node;
  const rootPins = [rootPin(rks.ca.root)];
  memory.node = { nodeName: NODE, rksAddress: rks.address, rootPins, sequence: 3, grantsLeft };
  await rks.close();
  return node;
}

type Reconnecting = Extract<AgentEvent, { readonly event: "reconnecting" }>;

/** Let time pass until the certificate has run out, and a way back was tried once in vain. */
async function outliveCertificate({ clock, until }: RenewingNode): Promise<Reconnecting> {
  for (let isExpired = false; ;) {
    const event = (await until("reconnecting")).at(-1) as Reconnecting;
    if (isExpired) return event;
    isExpired = event.code === "CERTIFICATE_EXPIRED";
    if (!isExpired) await pause(clock, event.delaySeconds * 1000);
  }
}

test("a certificate that runs out while the control plane is away is got again when it is back, with what is remembered by then", async () => {
  const node = await aNodeLeftAlone({}, 1);
  const { clock, rks, agent, until } = node;
  const { delaySeconds, code } = await outliveCertificate(node);
  expect(code).toBe("UNREACHABLE");
  await rks.listen();
  await pause(clock, delaySeconds * 1000);
  const events = await until("registered");
  expect(names(events).filter((name) => name !== "recovery")).toEqual([
    "recovered",
    "connected",
    "registered",
  ]);
  expect(events.at(-1)).toMatchObject({ generation: 1 });
  expect(rks.requests.find(({ type }) => type === "CertificateRecover")).toMatchObject({ sequence: 3 });
  const instances = rks.requests.flatMap((message) =>
    message.type === "RegisterNode" ? [message.instanceId] : [],
  );
  expect(new Set(instances).size).toBe(1);
  await agent.stop();
  expect(clock.pendingSleeps).toBe(0);
});

test("when the control plane refuses every way back, the last word is that the certificate has expired", async () => {
  const node = await aNodeLeftAlone(
    {
      answer: ({ message }) =>
        message.type === "CertificateRecover" ? refusal("RECOVERY_REFUSED") : undefined,
    },
    1,
  );
  const { clock, rks, agent, until } = node;
  const { delaySeconds } = await outliveCertificate(node);
  await rks.listen();
  await pause(clock, delaySeconds * 1000);
  expect((await until("error")).at(-1)).toMatchObject({
    code: "CERTIFICATE_EXPIRED",
    suggestion: expect.stringContaining(`rks node rejoin ${NODE}`) as string,
  });
  await expect(agent.finished).rejects.toMatchObject({ code: "CERTIFICATE_EXPIRED" });
});

test("a node that was banned meanwhile says so", async () => {
  const node = await aNodeLeftAlone(
    {
      answer: ({ message }) => (message.type === "CertificateRecover" ? refusal("NODE_BANNED") : undefined),
    },
    1,
  );
  const { delaySeconds } = await outliveCertificate(node);
  await node.rks.listen();
  await pause(node.clock, delaySeconds * 1000);
  expect((await node.until("error")).at(-1)).toMatchObject({ code: "NODE_BANNED" });
});

test("stopping a node that waits for its way back takes no time", async () => {
  const node = await aNodeLeftAlone({}, 1);
  await outliveCertificate(node);
  await node.agent.stop();
  await node.agent.finished;
  expect(node.clock.pendingSleeps).toBe(0);
});

test("a node without a way back ends with its certificate", async () => {
  const { clock, until, agent, rks } = await aNodeLeftAlone({}, 0);
  const over = agent.finished.then(
    () => [],
    () => [],
  );
  for (;;) {
    const event = (await Promise.race([until("reconnecting"), over])).at(-1);
    if (event?.event !== "reconnecting") break;
    await pause(clock, event.delaySeconds * 1000);
  }
  await expect(agent.finished).rejects.toMatchObject({ code: "CERTIFICATE_EXPIRED" });
  expect(rks.requests.some(({ type }) => type === "CertificateRecover")).toBe(false);
});
