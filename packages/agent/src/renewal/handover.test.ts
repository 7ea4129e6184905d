import { CLOSE_CODES, MessageStream, request, utf8, type Connection, type Received } from "@rk8s/protocol";
import type { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import type { CreateAgentOptions } from "../agent.js";
import {
  answering,
  aRenewingNode,
  DUE_MS,
  LIFETIME_MS,
  names,
  pause,
  TIMEOUT_MS,
  type RenewingNode,
} from "../testing/a-renewing-node.js";
import { FakePodHost } from "../testing/fake-pod-host.js";

const GET_LOGS = { type: "GetPodLogs", namespace: "default", name: "web" } as const;
const DELETE = { type: "DeletePod", namespace: "default", name: "web" } as const;

/** Logs that say what they are told to, and whether somebody still follows them. */
class TestLogs {
  readonly handlers: CreateAgentOptions["handlers"];
  followed: AbortSignal | undefined;
  #lines: string[] = [];
  #wake: () => void = () => undefined;

  constructor() {
    this.handlers = {
      GetPodLogs: (_, { signal }) => {
        this.followed = signal;
        return { message: { type: "PodLogs", container: "main" }, bytes: this.#read(signal) };
      },
    };
  }

  write(line: string): void {
    this.#lines.push(line);
    this.#wake();
  }

  async *#read(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    signal.addEventListener("abort", () => this.#wake());
    while (!signal.aborted) {
      const line = this.#lines.shift();
      if (line !== undefined) yield utf8(line);
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

async function read(
  connection: Connection,
  { follow = true, ...rest }: { readonly follow?: boolean; readonly resume?: string } = {},
): Promise<MessageStream> {
  const logs = new MessageStream(await connection.openStream());
  await logs.send({ ...GET_LOGS, follow, ...rest });
  logs.end();
  return logs;
}

function textOf(received: Received | undefined): string {
  if (received?.kind !== "bytes") throw new Error(`expected bytes, got ${JSON.stringify(received)}`);
  return Buffer.from(received.bytes).toString();
}

async function renew({ clock, until }: RenewingNode): Promise<void> {
  await pause(clock, DUE_MS);
  await until("renewed");
}

async function ask(connection: Connection, clock: FakeClock): Promise<void> {
  await request(connection, DELETE, "Ack", { clock, timeoutMs: 1_000_000 });
}

test.each([{ follow: true }, { follow: false }])(
  "logs go on over the new connection with the very next byte, follow: $follow",
  async ({ follow }) => {
    const source = new TestLogs();
    const node = await aRenewingNode({}, { handlers: source.handlers });
    const { clock, rks, agent } = node;
    const began = await read(rks.connections[1]!, { follow });
    source.write("one\n");
    expect((await began.receiveMessage()).message).toEqual({ type: "PodLogs", container: "main" });
    expect(textOf(await began.receive())).toBe("one\n");
    await renew(node);
    const { message: moved } = await began.receiveMessage();
    if (moved.type !== "LogsMoved") throw new Error(`got ${moved.type}`);
    expect(await began.receive()).toBeUndefined();
    source.write("two\n");
    const rest = await read(rks.connections[2]!, { follow, resume: moved.resume });
    expect((await rest.receiveMessage()).message).toEqual({ type: "PodLogs", container: "main" });
    expect(textOf(await rest.receive())).toBe("two\n");
    source.write("three\n");
    expect(textOf(await rest.receive())).toBe("three\n");
    // The old connection ends, the follower does not.
    await pause(clock, 1000);
    await rks.connections[1]!.ended;
    expect(source.followed!.aborted).toBe(false);
    const again = await read(rks.connections[2]!, { follow, resume: moved.resume });
    expect((await again.receiveMessage()).message).toMatchObject({ type: "Error", code: "NOT_FOUND" });
    await agent.stop();
    expect(source.followed!.aborted).toBe(true);
  },
);

test("logs that nobody comes for are given up after a minute", async () => {
  const source = new TestLogs();
  const node = await aRenewingNode({}, { handlers: source.handlers });
  const began = await read(node.rks.connections[1]!);
  await began.receiveMessage();
  await renew(node);
  await began.receiveMessage();
  expect(source.followed!.aborted).toBe(false);
  node.clock.advance(60_000);
  await new Promise(setImmediate);
  expect(source.followed!.aborted).toBe(true);
  await node.agent.stop();
});

test("a request that was asked over the old connection is answered there, and so is one that comes late", async () => {
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const node = await aRenewingNode({}, { handlers: { DeletePod: async () => gate } });
  const { clock, rks, agent } = node;
  const [, old] = rks.connections;
  const first = ask(old!, clock);
  await renew(node);
  const late = ask(old!, clock);
  release();
  await Promise.all([first, late]);
  await pause(clock, 1000);
  expect(await old!.ended).toMatchObject({ by: "peer", code: CLOSE_CODES.DONE });
  await agent.stop();
});

test("a request without an end is cut off when the old certificate ends", async () => {
  const handlers = { DeletePod: async () => new Promise<void>(() => undefined) };
  const node = await aRenewingNode({}, { handlers });
  const { clock, rks, agent } = node;
  const [, old] = rks.connections;
  const endless = ask(old!, clock);
  endless.catch(() => undefined);
  await renew(node);
  await pause(clock, LIFETIME_MS - DUE_MS);
  expect(await old!.ended).toMatchObject({ by: "peer", code: CLOSE_CODES.DONE });
  await expect(endless).rejects.toMatchObject({
    code: expect.stringMatching(/STREAM_RESET|CONNECTION_LOST/) as string,
  });
  await agent.stop();
});

test("a status that changes during the handover is reported over the new connection, after the registration", async () => {
  const pods = new FakePodHost();
  let registrations = 0;
  const node = await aRenewingNode(
    {
      answer({ message }) {
        if (message.type === "RegisterNode" && ++registrations === 2) pods.report("web", "Running");
        return undefined;
      },
    },
    { pods },
  );
  const { rks, agent } = node;
  await renew(node);
  await rks.received("UpdatePodStatus");
  expect(rks.requests.at(-1)).toMatchObject({ type: "UpdatePodStatus", name: "web" });
  expect(rks.requests.findLastIndex(({ type }) => type === "RegisterNode")).toBe(rks.requests.length - 2);
  await agent.stop();
});

test("a status under way on the old connection is waited for before the registration on the new one, but not for long", async () => {
  const pods = new FakePodHost();
  const node = await aRenewingNode({ answer: answering("UpdatePodStatus", "silence") }, { pods });
  const { clock, rks, agent, until, warnings } = node;
  pods.report("web", "Pending");
  await rks.received("UpdatePodStatus");
  await pause(clock, DUE_MS);
  await rks.received("Hello", 3);
  await new Promise(setImmediate);
  // Its answer is waited for, so nothing older can arrive behind the newer report.
  expect(rks.requests.filter(({ type }) => type === "RegisterNode")).toHaveLength(1);
  await pause(clock, TIMEOUT_MS);
  expect(names(await until("renewed"))).not.toContain("disconnected");
  await rks.received("UpdatePodStatus", 2);
  expect(rks.requests.at(-2)).toMatchObject({ type: "RegisterNode" });
  expect(warnings).toEqual([]);
  await agent.stop();
});
