import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { utf8 } from "../bytes.js";
import type { Clock } from "../clock.js";
import type { Connection, Credentials, Listener, Stream } from "../transport.js";
import { rejection } from "./assert.js";
import { readAll, type TransportHarness } from "./contract-server.js";
import { FakeClock } from "./fake-clock.js";
import { createMemoryTransport, type MemoryTransport } from "./memory-transport.js";
import { transportContract } from "./transport-contract.js";

const root = utf8("root certificate");
const foreignRoot = utf8("certificate of another root");

/** Credentials that `presentsRoot` judges like real ones. */
function credentials(leaf: string, issuer: Uint8Array): Credentials {
  return { certificateChain: [utf8(leaf), issuer.slice()], privateKey: utf8("private key") };
}

function harness(createTransport: () => MemoryTransport): TransportHarness {
  return {
    createTransport,
    serverCredentials: () => credentials("leaf of rks-cluster", root),
    otherServerCredentials: () => credentials("next leaf of rks-cluster", root),
    clientCredentials: () => credentials("leaf of worker-1", root),
    foreignClientCredentials: () => credentials("leaf of worker-1 from elsewhere", foreignRoot),
    serverName: "rks-cluster",
    roots: [root],
    foreignRoots: [foreignRoot],
  };
}

/** Time that passes by itself: every sleep is over in the event loop's next turn, long ones later than short ones. */
const hastyClock: Clock = {
  now: () => 0,
  monotonicMs: () => 0,
  async sleep(ms, options) {
    for (let turns = ms; turns > 0; turns -= 10) {
      options?.signal?.throwIfAborted();
      await setImmediate();
    }
  },
};

const runner = { describe, test };
transportContract("memory transport", harness(createMemoryTransport), runner);
transportContract(
  "memory transport with latency and loss",
  harness(() => createMemoryTransport({ latencyMs: 10, lossRate: 0.2, clock: hastyClock })),
  runner,
);
transportContract(
  "memory transport with little room",
  harness(() => createMemoryTransport({ bufferBytes: 1000 })),
  runner,
);

/** Both ends of a connection and its listener. */
async function connect(
  transport: MemoryTransport,
): Promise<{ client: Connection; server: Connection; listener: Listener }> {
  const listener = await transport.listen({
    host: "localhost",
    port: 0,
    alpn: ["rks/1"],
    credentials: credentials("leaf of rks-cluster", root),
    clientRoots: [],
  });
  const accepted = listener.connections()[Symbol.asyncIterator]();
  const { host, port } = listener.address;
  const client = await transport.dial({
    host,
    port,
    alpn: "rks/1",
    serverName: "rks-cluster",
    roots: [root],
  });
  const next = await accepted.next();
  return { client, server: next.value as Connection, listener };
}

function incoming(connection: Connection): AsyncIterator<Stream> {
  return connection.incomingStreams()[Symbol.asyncIterator]();
}

/** The next stream that the peer opened. */
async function nextStream(streams: AsyncIterator<Stream>): Promise<Stream> {
  const next = await streams.next();
  if (next.done === true) throw new Error("no stream came");
  return next.value;
}

describe("faults", () => {
  test.each([
    { effect: "truncate", seen: "abc" },
    { effect: "reset", seen: "STREAM_RESET" },
    { effect: "lose", seen: "CONNECTION_LOST" },
  ] as const)("$effect hits one stream of the named side, after so many bytes", async ({ effect, seen }) => {
    const transport = createMemoryTransport();
    const { client, server } = await connect(transport);
    transport.inject({ from: "client", afterBytes: 3, effect });
    const near = await client.openStream();
    const far = await nextStream(incoming(server));
    await far.write(utf8("the server's bytes pass"));
    await near.read();
    await near.write(utf8("ab")).catch(() => undefined);
    expect(await far.read()).toEqual(utf8("ab"));
    await near.write(utf8("cdef")).catch(() => undefined);
    near.end();
    const outcome = await readAll(far).then(
      (rest) => `ab${new TextDecoder().decode(rest)}`,
      (error: { code: string }) => error.code,
    );
    expect(outcome).toBe(seen);
  });

  test("stall keeps everything behind it from arriving, the end too, until the connection ends", async () => {
    const transport = createMemoryTransport();
    const { client, server } = await connect(transport);
    transport.inject({ from: "server", afterBytes: 0, effect: "stall" });
    const near = await server.openStream();
    await near.write(utf8("never"));
    near.end();
    const other = await server.openStream();
    await other.write(utf8("arrives"));
    other.end();
    const streams = incoming(client);
    const stalled = rejection((await nextStream(streams)).read());
    expect(await readAll(await nextStream(streams))).toEqual(utf8("arrives"));
    await client.close();
    expect(await stalled).toMatchObject({ code: "CONNECTION_LOST" });
  });

  test("losing every connection ends both sides as lost, and new ones can be made", async () => {
    const transport = createMemoryTransport();
    const { client, server, listener } = await connect(transport);
    transport.loseConnections();
    expect([(await client.ended).by, (await server.ended).by]).toEqual(["lost", "lost"]);
    const { host, port } = listener.address;
    const again = await transport.dial({
      host,
      port,
      alpn: "rks/1",
      serverName: "rks-cluster",
      roots: [root],
    });
    expect(again.remoteAddress.port).toBe(port);
  });
});

describe("latency", () => {
  test("is one round trip to dial and one way for bytes", async () => {
    const clock = new FakeClock();
    const transport = createMemoryTransport({ latencyMs: 50, clock });
    const connecting = connect(transport);
    expect(await clock.nextSleep()).toBe(100);
    clock.advance(100);
    expect(await clock.nextSleep()).toBe(50);
    clock.advance(50);
    const { client, server } = await connecting;
    const near = await client.openStream();
    const arrival = nextStream(incoming(server));
    await near.write(utf8("hello"));
    clock.advance(50);
    expect(await (await arrival).read()).toEqual(utf8("hello"));
    transport.loseConnections();
    expect(clock.pendingSleeps).toBe(0);
  });

  test("a lost delivery comes after three more latencies and holds back what is behind it", async () => {
    const clock = new FakeClock();
    const losses = [0.9, 0.1, 0.9];
    const random = (): number => losses.shift() ?? 0.9;
    const transport = createMemoryTransport({ latencyMs: 10, lossRate: 0.5, random, clock });
    const connecting = connect(transport);
    clock.advance(await clock.nextSleep());
    clock.advance(await clock.nextSleep());
    const { client, server } = await connecting;
    const near = await client.openStream();
    await near.write(utf8("late"));
    expect([await clock.nextSleep(), await clock.nextSleep()]).toEqual([40, 10]);
    clock.advance(40);
    const stream = await nextStream(incoming(server));
    expect(await stream.read()).toEqual(utf8("late"));
  });

  test.each([
    { name: "latency without a clock", options: { latencyMs: 1 } },
    { name: "loss without latency", options: { lossRate: 0.1 } },
  ])("$name is a mistake of the caller", ({ options }) => {
    expect(() => createMemoryTransport(options)).toThrow(TypeError);
  });
});

test("an injected judgement replaces the stand-in", async () => {
  const seen: string[] = [];
  const transport = createMemoryTransport({
    verify: ({ usage, serverName }) => void seen.push(`${usage} ${serverName ?? ""}`),
  });
  await connect(transport);
  expect(seen).toEqual(["server rks-cluster"]);
});
