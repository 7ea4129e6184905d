import { FakeClock } from "@rk8s/protocol/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createQuicTransport } from "./index.js";
import { loadNative } from "./native-binding.js";
import type { NativeConnection } from "./native-binding.js";
import { certificatesToPem } from "./pem.js";
import { Cluster, request, serveEcho } from "./testing/link.js";
import { anonymousConfig, prepare, RawClient, RawSocket } from "./testing/raw-client.js";

const cluster = await Cluster.create();
const HELLO = new TextEncoder().encode("hello");

/** A long header: first byte, version, connection ids of 20 and 8 bytes; filled up to 1200 bytes. */
function longHeader(first: number, version: number): Buffer {
  const datagram = Buffer.alloc(1200, 7);
  datagram[0] = first;
  datagram.writeUInt32BE(version, 1);
  datagram[5] = 20;
  datagram[26] = 8;
  return datagram;
}

const HOSTILE_DATAGRAMS = [
  { name: "an empty datagram", datagram: Buffer.alloc(0) },
  { name: "one byte", datagram: Buffer.of(0xc0) },
  { name: "a 0-RTT packet of no known connection", datagram: longHeader(0xd0, 1) },
  { name: "a handshake packet of no known connection", datagram: longHeader(0xe0, 1) },
  { name: "a Retry packet", datagram: longHeader(0xf0, 1) },
  { name: "a version negotiation packet", datagram: longHeader(0xc0, 0) },
  {
    name: "connection ids longer than the datagram",
    datagram: Buffer.concat([Buffer.of(0xc0, 0, 0, 0, 1, 255), Buffer.alloc(100)]),
  },
  { name: "an Initial packet too short for one", datagram: longHeader(0xc0, 1).subarray(0, 1199) },
  { name: "an Initial packet with a forged token", datagram: forgedToken() },
];

function forgedToken(): Buffer {
  const datagram = longHeader(0xc0, 1);
  datagram.writeUInt16BE(0x4000 | 60, 35); // token length as a two-byte integer
  return datagram;
}

test.each(HOSTILE_DATAGRAMS)("$name gets no answer and does no harm", async ({ datagram }) => {
  await using server = await cluster.listen();
  void serveEcho(server.listener);
  await using raw = await RawSocket.open();
  for (let i = 0; i < 3; i++) await raw.send(datagram, server.port);
  await using client = await cluster.dial(server.port);
  expect(await request(client, HELLO)).toEqual(HELLO);
  expect(raw.pending).toBe(0);
});

test("garbage datagrams of any kind leave the listener serving", async () => {
  await using server = await cluster.listen();
  void serveEcho(server.listener);
  await using raw = await RawSocket.open();
  const anyBytes = fc.uint8Array({ maxLength: 1500 });
  const almostQuic = fc
    .tuple(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 1, 2, 0x6b3343cf), anyBytes)
    .map(([first, version, body]) => Buffer.concat([longHeader(first, version), body]));
  await fc.assert(
    fc.asyncProperty(fc.oneof(anyBytes, almostQuic), (datagram) => raw.send(datagram, server.port)),
    { numRuns: 500 },
  );
  await using client = await cluster.dial(server.port);
  expect(await request(client, HELLO)).toEqual(HELLO);
});

test("garbage on an established connection's id does not end it", async () => {
  await using server = await cluster.listen();
  await using client = await cluster.dial(server.port);
  const accepted = await server.accept();
  await using raw = await RawSocket.open();
  const id = Buffer.from((accepted as unknown as { id: string }).id, "latin1");
  for (const first of [0x40, 0xc0, 0xd0, 0xe0]) {
    const datagram = first === 0x40 ? Buffer.alloc(1200, 0x40) : longHeader(first, 1);
    id.copy(datagram, first === 0x40 ? 1 : 6);
    await raw.send(datagram, server.port);
  }
  const stream = await client.openStream();
  await stream.write(HELLO);
  const far = await accepted.incomingStreams()[Symbol.asyncIterator]().next();
  expect(await (far.done === true ? undefined : far.value.read())).toEqual(HELLO);
});

test("an unknown version is answered with the versions there are", async () => {
  await using server = await cluster.listen();
  await using raw = await RawSocket.open();
  await raw.send(longHeader(0xc0, 0x1a2a3a4a), server.port);
  const answer = await raw.receive();
  expect(answer.readUInt32BE(1)).toBe(0);
  const versions = answer.subarray(7 + (answer[5] ?? 0) + (answer[6 + (answer[5] ?? 0)] ?? 0));
  expect(versions.includes(Buffer.of(0, 0, 0, 1))).toBe(true);
});

test("a client gets a Retry first, and its token is good for its own address only", async () => {
  await using server = await cluster.listen();
  await using client = await RawClient.open(server.port);
  await using thief = await RawSocket.open();
  await client.untilRetry();
  const [initial] = client.outgoing();
  expect(initial).toBeDefined();
  await thief.send(initial!, server.port);
  await client.raw.send(initial!, server.port);
  await client.receive(); // the server's handshake
  expect(thief.pending).toBe(0);
});

test("a Retry token that is too old is not answered", async () => {
  const clock = new FakeClock();
  await using server = await cluster.listen({ transport: createQuicTransport({ clock }) });
  await using late = await RawClient.open(server.port);
  await late.untilRetry();
  clock.advance(10_001);
  await late.flush();
  await using prompt = await RawClient.open(server.port);
  await prompt.untilEstablished();
  expect(late.raw.pending).toBe(0);
});

test("half-open handshakes are bounded, and a place is free again after the deadline", async () => {
  const limits = { handshakeTimeoutMs: 200 };
  await using server = await cluster.listen({ maxHandshakes: 2, limits });
  const silent = [];
  for (let i = 0; i < 2; i++) {
    const client = await RawClient.open(server.port);
    silent.push(client);
    await client.untilRetry();
    await client.flush();
    await client.receive();
  }
  await using third = await RawClient.open(server.port);
  await third.untilRetry();
  await third.flush();
  await using raw = await RawSocket.open();
  await raw.send(longHeader(0xc0, 0x1a2a3a4a), server.port);
  await raw.receive(); // so the third one's packet, which came before, has been looked at
  expect(third.raw.pending).toBe(0);
  await using client = await cluster.dial(server.port, { limits: { handshakeTimeoutMs: 5000 } });
  expect(client.alpn).toBe("rks/1");
  await third.receive(); // it waited, and was served before the one that came later
  for (const one of silent) await one[Symbol.asyncDispose]();
});

/** What only an attacker's client does, and the driver therefore does not declare. */
interface ResumingConnection extends NativeConnection {
  session(): Uint8Array | null;
  setSession(session: Uint8Array): void;
}

test("a session resumed without the key of the certificate is closed at once", async () => {
  const quiche = await loadNative();
  await using server = await cluster.listen();
  const { certificateChain, privateKey } = cluster.clientCredentials();
  const key = Buffer.from(
    `-----BEGIN PRIVATE KEY-----\n${Buffer.from(privateKey).toString("base64")}\n-----END PRIVATE KEY-----\n`,
  );
  const chain = certificatesToPem(certificateChain);
  const withKey = quiche.Config.withBoringSslCtx(false, false, undefined, [key], [chain], undefined);
  await using honest = await RawClient.open(server.port, prepare(withKey));
  await honest.untilEstablished();
  expect((await server.accept()).peerCertificates).toHaveLength(2);
  const native = honest.native as ResumingConnection;
  while (native.session() === null) await honest.receive();
  const session = native.session();

  await using thief = await RawClient.open(server.port, await anonymousConfig());
  (thief.native as ResumingConnection).setSession(session!);
  await thief.untilEstablished();
  expect(thief.native.isResumed()).toBe(true);
  while (thief.native.peerError() === null) {
    await thief.receive();
    await thief.flush();
  }
  const { isApp, errorCode } = thief.native.peerError()!;
  expect({ isApp, errorCode }).toEqual({ isApp: true, errorCode: 6 });
  await using client = await cluster.dial(server.port);
  expect((await server.accept()).remoteAddress.port).toBe(client.localAddress.port);
});
