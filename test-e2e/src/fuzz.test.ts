import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { systemClock } from "@rk8s/agent";
import { ALPN, encodeFrame, encodeMessage, type RksMessage, SERVER_NAME, type Stream } from "@rk8s/protocol";
import { arbitraryMessage } from "@rk8s/protocol/testing/arbitraries";
import { createQuicTransport } from "@rk8s/quic";
import { decodePemCertificates } from "@rk8s/x509";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Cluster } from "./harness/cluster.js";
import { UdpRelay } from "./harness/udp-relay.js";

/** Cases of all kinds together; the nightly run asks for millions. */
const CASES = Number(process.env["FUZZ_CASES"] ?? 100_000);
/** What a stream costs is some hundred times a datagram. */
const STREAM_CASES = Math.floor(CASES / 20);
const HTTP_CASES = Math.floor(CASES / 50);
const STREAMS_PER_CONNECTION = 4;
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
function sample<T>(arbitrary: fc.Arbitrary<T>, numRuns: number): T[] {
  return fc.sample(arbitrary, { numRuns, seed: SEED });
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
      if (how === "bit") bytes[at % bytes.length]! ^= 1 << (at % 8);
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
    socket.on("error", () => undefined);
    for (const [i, bytes] of sample(datagram, CASES).entries()) {
      // Every other one comes from the address of the connection whose datagrams these were.
      if (i % 2 === 0) relay.inject(bytes);
      else await new Promise((resolve) => socket.send(bytes, port, "127.0.0.1", resolve));
    }
    socket.close();
    await once(socket, "close");

    expect(relayed.lines.filter(({ event }) => event === "disconnected")).toEqual([]);
    expect(await relayed.stop()).toBe(0);
    await cluster.rks(["node", "evict", "relayed", "--config", cluster.configFile]);
  });
});

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
  frame[at % frame.length]! ^= 1 << bit;
  return frame;
}

test("no bytes on a stream end or freeze rks", { timeout: TIMEOUT_MS }, async () => {
  await underFire(async (cluster) => {
    const transport = createQuicTransport({ clock: systemClock });
    const roots = decodePemCertificates(await readFile(cluster.rootCertPath));
    const [host, port] = cluster.address.split(":");
    const cases = sample(streamBytes, STREAM_CASES);
    for (let at = 0; at < cases.length; at += STREAMS_PER_CONNECTION) {
      await using connection = await transport.dial({
        host: host!,
        port: Number(port),
        alpn: ALPN,
        serverName: SERVER_NAME,
        roots,
      });
      const batch = cases.slice(at, at + STREAMS_PER_CONNECTION);
      await Promise.allSettled(batch.map(async (bytes) => throwAt(await connection.openStream(), bytes)));
    }
  });
});

/** Send the bytes and read whatever comes back to the end. */
async function throwAt(stream: Stream, bytes: Uint8Array): Promise<void> {
  await stream.write(bytes);
  stream.end();
  while ((await stream.read()) !== undefined);
}

test("no request body on the unix socket ends or freezes rks", { timeout: TIMEOUT_MS }, async () => {
  await underFire(async (cluster) => {
    for (const bytes of sample(streamBytes, HTTP_CASES)) {
      await new Promise<void>((resolve) => {
        const request = httpRequest(
          { socketPath: cluster.socket, path: "/v1/rk8s/messages", method: "POST" },
          (response) => response.resume().on("close", resolve),
        );
        request.on("error", () => resolve());
        request.end(bytes);
      });
    }
  });
});
