import { expect, test } from "vitest";
import { utf8 } from "./bytes.js";
import { CLOSE_CODES } from "./close-codes.js";
import { LIMITS } from "./limits.js";
import { openStreamInTime } from "./open-stream.js";
import { request } from "./request.js";
import { createMemoryTransport, FakeClock } from "./testing/index.js";
import { ALPN, SERVER_NAME } from "./version.js";

/** Both ends of a connection on which the client may have one stream open. */
async function aConnection() {
  const transport = createMemoryTransport();
  const root = utf8("root");
  const credentials = { certificateChain: [utf8("leaf of rks-cluster"), root], privateKey: utf8("key") };
  const listener = await transport.listen({
    host: "127.0.0.1",
    port: 0,
    alpn: [ALPN],
    credentials,
    clientRoots: [],
    limits: { maxIncomingStreams: 1 },
  });
  const connection = await transport.dial({
    ...listener.address,
    alpn: ALPN,
    serverName: SERVER_NAME,
    roots: [root],
  });
  return { connection, clock: new FakeClock() };
}

test("a connection that grants no stream in time is closed", async () => {
  const { connection, clock } = await aConnection();
  await openStreamInTime(connection, { clock });
  const second = openStreamInTime(connection, { clock });
  await clock.nextSleep();
  clock.advance(LIMITS.requestTimeoutMs);
  await expect(second).rejects.toMatchObject({ code: "TIMED_OUT" });
  expect(await connection.ended).toMatchObject({ by: "local", code: CLOSE_CODES.TIMED_OUT });
  expect(clock.pendingSleeps).toBe(0);
});

test("so is one that grants none within the deadline of a request", async () => {
  const { connection, clock } = await aConnection();
  const peer = {
    openStream: (options?: { readonly signal?: AbortSignal | undefined }) =>
      openStreamInTime(connection, { clock, ...options }),
  };
  await peer.openStream();
  const asked = request(peer, { type: "ListNodes" }, "NodeList", { clock, timeoutMs: 2000 });
  await clock.nextSleep();
  clock.advance(2000);
  await expect(asked).rejects.toThrow("ListNodes was not answered within 2 s");
  expect(await connection.ended).toMatchObject({ by: "local", code: CLOSE_CODES.TIMED_OUT });
});

test("whoever gives up by himself leaves the connection as it is", async () => {
  const { connection, clock } = await aConnection();
  const stream = await openStreamInTime(connection, { clock });
  const given = new AbortController();
  const second = openStreamInTime(connection, { clock, signal: given.signal });
  given.abort(new TypeError("changed my mind"));
  await expect(second).rejects.toThrow("changed my mind");
  await expect(stream.write(new Uint8Array([1]))).resolves.toBeUndefined();
  expect(clock.pendingSleeps).toBe(0);
});
