import { randomBytes } from "node:crypto";
import type { Connection } from "@rk8s/protocol";
import { expect, onTestFinished, test } from "vitest";
import { StatelessResets } from "./stateless-reset.js";
import { Cluster } from "./testing/link.js";
import { LossyRelay } from "./testing/lossy-relay.js";
import { RawSocket } from "./testing/raw-client.js";
import { CONNECTION_ID_BYTES } from "./packet-header.js";

const KEY = new Uint8Array(32).fill(7);
const ID = new Uint8Array(CONNECTION_ID_BYTES).fill(1);
const cluster = await Cluster.create();

test("a token follows from the key and the connection id alone", () => {
  const [one, same] = [KEY, KEY.slice()].map((key) => new StatelessResets(key, { randomBytes }));
  expect(one!.tokenOf(ID)).toEqual(same!.tokenOf(ID));
  expect(one!.tokenOf(ID)).not.toEqual(one!.tokenOf(ID.map((byte) => byte + 1)));
  const other = new StatelessResets(new Uint8Array(32).fill(8), { randomBytes });
  expect(other.tokenOf(ID)).not.toEqual(one!.tokenOf(ID));
});

test.each([
  { name: "a short packet gets one byte less", received: 30, length: 29 },
  { name: "a long packet gets what looks like a short one", received: 1200, length: 43 },
  { name: "the shortest that is answered", received: 22, length: 21 },
  { name: "a packet that a reset cannot be shorter than gets nothing", received: 21, length: 0 },
])("$name", ({ received, length }) => {
  const out = new Uint8Array(1500);
  const resets = new StatelessResets(KEY, { randomBytes: (count) => new Uint8Array(count).fill(0xff) });
  expect(resets.write(ID, received, out)).toBe(length);
  if (length === 0) return;
  expect(out[0]).toBe(0b0111_1111);
  expect(out.slice(length - 16, length)).toEqual(Uint8Array.from(resets.tokenOf(ID)));
});

/** A connection whose server is gone without a word, and another with this key in its place. */
async function restarted(resetKey: Uint8Array): Promise<Connection> {
  const first = await cluster.listen({ resetKey: KEY });
  const relay = await LossyRelay.open(first.port, { loss: 0, reordering: 0, random: () => 1 });
  const limits = { keepAliveIntervalMs: 0, idleTimeoutMs: 1500 };
  const connection = await cluster.dial(relay.port, { limits });
  await first.accept();
  const second = await cluster.listen({ resetKey });
  relay.redirect(second.port);
  onTestFinished(async () => {
    await connection.close();
    await Promise.all([relay[Symbol.asyncDispose](), first.listener.close(), second.listener.close()]);
  });
  return connection;
}

test("the client of a listener that is gone is told so by the one after it, on its next packet", async () => {
  const connection = await restarted(KEY.slice());
  const stream = await connection.openStream();
  await stream.write(new Uint8Array(1));
  expect(await connection.ended).toMatchObject({
    by: "lost",
    reason: "the peer does not know the connection any more; it was restarted",
    error: { code: "CONNECTION_LOST" },
  });
});

test("a listener with another key cannot end the connection", async () => {
  const connection = await restarted(KEY.map((byte) => byte + 1));
  const stream = await connection.openStream();
  await stream.write(new Uint8Array(1));
  expect((await connection.ended).reason).toBe("no sign of the peer for 1.5 s");
});

test("each connection has a token of its own, so no client can end another's", async () => {
  await using server = await cluster.listen({ resetKey: KEY });
  await using socket = await RawSocket.open();
  const packet = (id: number): Uint8Array => Uint8Array.of(0x40, ...new Uint8Array(60).fill(id));
  await socket.send(packet(1), server.port);
  await socket.send(packet(2), server.port);
  const tokens = [await socket.receive(), await socket.receive()].map((reset) => reset.subarray(-16));
  expect(tokens[0]).not.toEqual(tokens[1]);
});

test("packets that are too short are not answered", async () => {
  await using server = await cluster.listen({ resetKey: KEY });
  await using socket = await RawSocket.open();
  await socket.send(new Uint8Array(21).fill(0x40), server.port);
  await socket.send(new Uint8Array(22).fill(0x40), server.port);
  expect(await socket.receive()).toHaveLength(21);
  expect(socket.pending).toBe(0);
});

test("a reset key of another length is refused", async () => {
  await expect(cluster.listen({ resetKey: new Uint8Array(31) })).rejects.toMatchObject({
    code: "CONFIG_INVALID",
  });
});
