import { createSocket } from "node:dgram";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { buffer } from "node:stream/consumers";
import {
  type Credentials,
  decodeMessage,
  encodeFrame,
  encodeMessage,
  FrameDecoder,
  MESSAGES_PATH,
  RksError,
  type RksMessage,
  type StreamOpener,
} from "@rk8s/protocol";
import { aNodeStatus } from "@rk8s/protocol/testing";
import { arbitraryMessage, arbitraryMessageOf } from "@rk8s/protocol/testing/arbitraries";
import fc from "fast-check";
import { expect, test } from "vitest";
import { askRks, newToken } from "./harness/ask-rks.js";
import { Cluster } from "./harness/cluster.js";
import { credentialsOf, join, RawAgent } from "./harness/raw-agent.js";
import { aKey, aRequest, turnBit } from "./harness/raw-request.js";
import { UdpRelay } from "./harness/udp-relay.js";

/** Cases of all kinds together; the nightly run asks for millions. */
const CASES = Number(process.env["FUZZ_CASES"] ?? 100_000);
/** What a stream costs is some hundred times a datagram. */
const STREAM_CASES = Math.floor(CASES / 20);
const HTTP_CASES = Math.floor(CASES / 50);
const JOIN_CASES = Math.floor(CASES / 50);
const STREAMS_PER_CONNECTION = 4;
/** Fewer than the socket of rks has room for. */
const DATAGRAMS_AT_ONCE = 64;
const CASES_PER_NODE_CONNECTION = 100;
const CASES_PER_TOKEN = 400;
const SEED = Number(process.env["FUZZ_SEED"] ?? Date.now() % 0x7fffffff);
const TIMEOUT_MS = 60_000 + CASES * 2;

/** The control plane is the same process as before, still serves its node, and lets another one in. */
async function assertUnharmed(cluster: Cluster, pid: number): Promise<void> {
  expect(cluster.controlPlane.pid).toBe(pid);
  await cluster.joinNode("after");
  const nodes = await cluster.nodes();
  expect(nodes.map(({ name, status }) => [name, status])).toEqual([
    ["after", "Ready"],
    ["before", "Ready"],
  ]);
}

/** Cases that come again with `FUZZ_SEED` set to the seed that a failure shows. */
function sample<T>(arbitrary: fc.Arbitrary<T>, numRuns: number, from = 0): T[] {
  return fc.sample(arbitrary, { numRuns, seed: SEED + from });
}

async function underFire(attack: (cluster: Cluster) => Promise<void>): Promise<void> {
  await using cluster = await Cluster.start();
  const { pid } = cluster.controlPlane;
  await cluster.joinNode("before");
  try {
    await attack(cluster);
    await assertUnharmed(cluster, pid);
  } catch (cause) {
    throw new Error(`with FUZZ_SEED=${SEED}`, { cause });
  }
}

/** Up to so many bytes; fast-check's own arrays stay short unless told otherwise, and long ones take their time. */
function bytesUpTo(maxLength: number): fc.Arbitrary<Uint8Array> {
  return fc.tuple(fc.nat(maxLength), fc.nat()).map(([length, from]) => {
    const bytes = Buffer.alloc(length);
    for (let i = 0, state = from | 1; i < length; i++) {
      state = Math.imul(state, 0x915f77f5) + 0x6d2b79f5;
      bytes[i] = state >>> 24;
    }
    return bytes;
  });
}

/** A QUIC long header (RFC 9000 §17.2) whose fields are right enough to be looked at. */
const longHeader = fc
  .record({
    type: fc.integer({ min: 0, max: 3 }),
    version: fc.oneof(fc.constant(1), fc.constant(0), fc.integer({ min: 0, max: 0xffffffff })),
    dcid: bytesUpTo(22),
    scid: bytesUpTo(22),
    rest: bytesUpTo(1400),
  })
  .map(({ type, version, dcid, scid, rest }) => {
    const head = Buffer.alloc(5);
    head[0] = 0xc0 | (type << 4);
    head.writeUInt32BE(version, 1);
    return Buffer.concat([head, Buffer.of(dcid.length), dcid, Buffer.of(scid.length), scid, rest]);
  });

/** A datagram that was sent once, with a bit turned, bytes cut off or added, or as it was. */
function again(recorded: readonly Buffer[]): fc.Arbitrary<Uint8Array> {
  return fc
    .record({
      datagram: fc.constantFrom(...recorded),
      how: fc.constantFrom("bit", "cut", "longer", "same"),
      at: fc.nat(),
      tail: bytesUpTo(200),
    })
    .map(({ datagram, how, at, tail }) => {
      if (how === "cut") return datagram.subarray(0, at % datagram.length);
      if (how === "longer") return Buffer.concat([datagram, tail]);
      const bytes = Buffer.from(datagram);
      if (how === "bit") turnBit(bytes, at);
      return bytes;
    });
}

test("no datagram ends or freezes rks", { timeout: TIMEOUT_MS }, async () => {
  await underFire(async (cluster) => {
    const port = Number(cluster.address.split(":").at(-1));
    await using relay = await UdpRelay.open(cluster.address);
    relay.record();
    const { token } = await cluster.mintToken(["--node", "relayed"]);
    const relayed = cluster.startAgent("relayed", token, { rksAddress: relay.address });
    await relayed.event("registered");
    const datagram = fc.oneof(bytesUpTo(1500), longHeader, again(relay.recorded));

    const socket = createSocket("udp4");
    // Making all of them at once would hold this process, and with it the relay, until the agent gives up.
    for (let at = 0; at < CASES; at += DATAGRAMS_AT_ONCE) {
      for (const [i, bytes] of sample(datagram, DATAGRAMS_AT_ONCE, at).entries()) {
        // Every other one comes from the address of the connection whose datagrams these were.
        if (i % 2 === 0) relay.inject(bytes);
        else socket.send(bytes, port, "127.0.0.1");
      }
      await assertAnswers(port);
    }
    socket.close();
    await once(socket, "close");

    expect(relayed.lines.filter(({ event }) => event === "disconnected")).toEqual([]);
    expect(await relayed.stop()).toBe(0);
    await cluster.rks(["node", "evict", "relayed", "--config", cluster.configFile]);
  });
});

/** A long header of a version that nobody speaks; RFC 9000 §6 has it answered by Version Negotiation. */
const VERSION_QUESTION = Buffer.concat([
  Buffer.from("c01a2a3a4a080102030405060708081112131415161718", "hex"),
  Buffer.alloc(1200),
]);

/** What came before it has been looked at when this is answered: nothing froze, and no datagram was dropped unread. */
async function assertAnswers(port: number): Promise<void> {
  const socket = createSocket("udp4");
  const answered = once(socket, "message");
  const ask = (): void => socket.send(VERSION_QUESTION, port, "127.0.0.1");
  ask();
  // It may be one too many for the socket's buffer itself.
  const asking = setInterval(ask, 500);
  await answered;
  clearInterval(asking);
  socket.close();
}

/** Any message but the one that would run commands here when the socket's operator sends it. */
const harmlessMessage = arbitraryMessage.filter(({ type }) => type !== "ApplyPod");

/** Bytes that are frames, nearly frames, or nothing of the kind. */
const streamBytes = fc.oneof(
  bytesUpTo(20_000),
  fc.record({ body: bytesUpTo(2_000) }).map(({ body }) => encodeFrame("message", body)),
  fc.json().map((json) => encodeFrame("message", Buffer.from(json))),
  fc
    .record({
      message: harmlessMessage,
      at: fc.nat(),
      bit: fc.integer({ min: 0, max: 7 }),
      cut: fc.boolean(),
    })
    .map(({ message, at, bit, cut }) => damaged(message, at, bit, cut)),
  harmlessMessage.map((message) => encodeFrame("message", encodeMessage(message))),
);

function damaged(message: RksMessage, at: number, bit: number, cut: boolean): Uint8Array {
  const frame = encodeFrame("message", encodeMessage(message));
  if (cut) return frame.subarray(0, at % frame.length);
  turnBit(frame, at * 8 + bit);
  return frame;
}

/** What an answer says: an error's code, else the message's type; undefined when there was none. */
function verdictOf(answer: Uint8Array): string | undefined {
  const [frame] = new FrameDecoder().push(answer);
  if (frame === undefined) return undefined;
  const message = decodeMessage(frame.body);
  return message.type === "Error" ? message.code : message.type;
}

/** Send the bytes and read whatever comes back to the end. */
async function throwAt(opener: StreamOpener, bytes: Uint8Array): Promise<string | undefined> {
  const stream = await opener.openStream();
  await stream.write(bytes);
  stream.end();
  const chunks: Uint8Array[] = [];
  for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read()) chunks.push(chunk);
  return verdictOf(Buffer.concat(chunks));
}

/** Everything was answered by something else than "an internal error occurred", and not everything in the same way. */
function assertVerdicts(verdicts: readonly (string | undefined)[]): void {
  expect(verdicts).not.toContain("INTERNAL");
  expect(new Set(verdicts).size).toBeGreaterThan(2);
}

test("no bytes on a stranger's stream end or freeze rks", { timeout: TIMEOUT_MS }, async () => {
  await underFire(async (cluster) => {
    const cases = sample(streamBytes, STREAM_CASES);
    const verdicts: (string | undefined)[] = [];
    for (let at = 0; at < cases.length; at += STREAMS_PER_CONNECTION) {
      await using agent = await RawAgent.dial(cluster);
      const batch = cases.slice(at, at + STREAMS_PER_CONNECTION);
      const settled = await Promise.allSettled(batch.map(async (bytes) => throwAt(agent.connection, bytes)));
      verdicts.push(...settled.map((result) => (result.status === "fulfilled" ? result.value : undefined)));
    }
    assertVerdicts(verdicts);
  });
});

test("no message of a node ends or freezes rks", { timeout: TIMEOUT_MS }, async () => {
  await underFire(async (cluster) => {
    const [name, key] = ["noisy", aKey()];
    // One process, whatever it says: several that come back are copies of one, and are refused for that.
    const instanceId = name;
    const { token } = await newToken(cluster);
    const certificate = await join(cluster, { token, csr: aRequest({ key }), nodeName: name });
    const credentials = (): Credentials => credentialsOf(certificate, key.pkcs8);
    const { RegisterNode, Heartbeat, UpdatePodStatus, NodeStopping } = arbitraryMessageOf;
    const itsOwn = fc.oneof<fc.Arbitrary<RksMessage>[]>(
      RegisterNode,
      Heartbeat,
      UpdatePodStatus,
      NodeStopping,
    );
    const cases = sample(fc.oneof({ arbitrary: itsOwn, weight: 4 }, arbitraryMessage), STREAM_CASES);
    const verdicts: (string | undefined)[] = [];
    for (let at = 0; at < cases.length; at += CASES_PER_NODE_CONNECTION) {
      await using agent = await RawAgent.dial(cluster, { credentials: credentials() });
      await agent.greet();
      const status = aNodeStatus();
      await agent.ask({
        type: "RegisterNode",
        nodeName: name,
        instanceId,
        version: "raw/1",
        status,
        pods: [],
      });
      for (const message of cases.slice(at, at + CASES_PER_NODE_CONNECTION)) {
        const own = message.type === "RegisterNode" ? { ...message, nodeName: name, instanceId } : message;
        const bytes = encodeFrame("message", encodeMessage(own));
        verdicts.push(
          await throwAt(agent.connection, bytes).catch((error: unknown) => RksError.from(error).code),
        );
      }
    }
    assertVerdicts(verdicts);
    expect(verdicts).toContain("Ack");
    await cluster.rks(["node", "evict", name, "--config", cluster.configFile]);
  });
});

const anyName = fc.oneof(
  fc.string({ unit: "binary", maxLength: 80 }),
  fc.constantFrom("before", "rks-cluster", "spiffe://rk8s.local/node/before"),
);

/** What the holder of a token may ask for: nonsense that is signed as it should be, and what is not even that. */
const anyRequest = fc.record({
  commonNames: fc.array(anyName, { maxLength: 2 }),
  dnsNames: fc.array(anyName, { maxLength: 2 }),
  uris: fc.array(anyName, { maxLength: 2 }),
  isCa: fc.boolean(),
  turnedBit: fc.option(fc.nat(4000), { nil: undefined }),
  turnedAfterwards: fc.option(fc.nat(8000), { nil: undefined }),
});

/** The one request in all the nonsense that is granted. */
const PLAIN_REQUEST = { commonNames: [], dnsNames: [], uris: [], isCa: false } as const;

test("no request of a token's holder ends or freezes rks", { timeout: TIMEOUT_MS }, async () => {
  await underFire(async (cluster) => {
    const verdicts: (string | undefined)[] = [];
    let token = "";
    const cases = [
      { ...PLAIN_REQUEST, turnedBit: undefined, turnedAfterwards: undefined },
      ...sample(anyRequest, JOIN_CASES),
    ];
    for (const [i, { turnedBit, turnedAfterwards, ...asked }] of cases.entries()) {
      // What one token may be refused a second is limited.
      if (i % CASES_PER_TOKEN === 0) ({ token } = await newToken(cluster, { uses: CASES_PER_TOKEN }));
      const csr = aRequest({ key: aKey(), ...asked, ...(turnedBit === undefined ? {} : { turnedBit }) });
      if (turnedAfterwards !== undefined) turnBit(csr, turnedAfterwards);
      const nodeName = `asking-${i}`;
      const verdict = await join(cluster, { token, csr, nodeName }).then(
        () => "Certificate",
        (error: unknown) => RksError.from(error).code,
      );
      if (verdict === "Certificate") await askRks(cluster, "POST", `/v1/rk8s/nodes/${nodeName}/evict`, {});
      verdicts.push(verdict);
    }
    expect(verdicts[0]).toBe("Certificate");
    expect(verdicts).toContain("CSR_INVALID");
    expect(verdicts).not.toContain("INTERNAL");
    expect(verdicts).not.toContain("JOIN_TOKEN_INVALID");
  });
});

test("no request body on the unix socket ends or freezes rks", { timeout: TIMEOUT_MS }, async () => {
  await underFire(async (cluster) => {
    const verdicts: (string | undefined)[] = [];
    for (const bytes of sample(streamBytes, HTTP_CASES)) verdicts.push(await post(cluster, bytes));
    assertVerdicts(verdicts);
  });
});

function post({ socket }: Cluster, body: Uint8Array): Promise<string | undefined> {
  return new Promise((resolve) => {
    const options = { socketPath: socket, path: MESSAGES_PATH, method: "POST" };
    const request = httpRequest(options, (response) => {
      buffer(response).then(
        (answer) => resolve(verdictOf(answer)),
        () => resolve(undefined),
      );
    });
    request.on("error", () => resolve(undefined));
    request.end(body);
  });
}
