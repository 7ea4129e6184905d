import { CLOSE_CODES } from "../close-codes.js";
import { RksError } from "../errors.js";
import { ALPN } from "../version.js";
import { assertRejects, assertRejectsWith, assertSame, assertTrue } from "./assert.js";
import type { ContractCase } from "./contract-case.js";
import { ContractServer, dialOptions, HOST, Pair } from "./contract-server.js";

/** Long enough for loopback, short enough to wait for. */
const QUICK = { handshakeTimeoutMs: 300, idleTimeoutMs: 1000, keepAliveIntervalMs: 0 };

/** Listening, dialling, ending. */
export const CONNECTION_CASES: readonly ContractCase[] = [
  {
    name: "listens on a port of its choice and tells both sides who they talk to",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const { client, accepted, server } = pair;
      assertTrue(server.listener.address.port > 0, "port 0 became a real one");
      assertSame(client.remoteAddress, server.listener.address, "where the client dialled");
      assertSame(accepted.remoteAddress.port, client.localAddress.port, "where the server's peer is");
      assertSame([client.alpn, accepted.alpn], [ALPN, ALPN], "protocol");
      assertSame(accepted.serverName, harness.serverName, "the name the client asked for");
      assertSame(client.serverName, harness.serverName, "the name the client dialled");
    },
  },
  {
    name: "dialling where nobody listens fails with a retryable error",
    async run(transport, harness) {
      const server = await ContractServer.open(transport, harness);
      await server.listener.close();
      const dial = transport.dial(dialOptions(server, harness, { limits: QUICK }));
      const error = await assertRejects(dial, "UNREACHABLE", "TIMED_OUT");
      assertTrue(error.retryable, "it may be tried again");
    },
  },
  {
    name: "an address that is taken cannot be listened on",
    async run(transport, harness) {
      await using server = await ContractServer.open(transport, harness);
      const { port } = server.listener.address;
      await assertRejects(ContractServer.open(transport, harness, { port }), "UNREACHABLE");
    },
  },
  {
    name: "a peer that speaks another protocol is refused while dialling",
    async run(transport, harness) {
      await using server = await ContractServer.open(transport, harness);
      const options = dialOptions(server, harness, { alpn: "other/1", limits: QUICK });
      await assertRejects(transport.dial(options), "VERSION_UNSUPPORTED");
    },
  },
  {
    name: "a dial whose signal is already aborted rejects with the signal's reason",
    async run(transport, harness) {
      await using server = await ContractServer.open(transport, harness);
      const controller = new AbortController();
      const reason = new RksError("UNAVAILABLE", "stopping");
      controller.abort(reason);
      await assertRejectsWith(
        transport.dial(dialOptions(server, harness, { signal: controller.signal })),
        reason,
      );
    },
  },
  {
    name: "a dial that is aborted half-way rejects with the signal's reason and the listener goes on",
    async run(transport, harness) {
      await using server = await ContractServer.open(transport, harness);
      const controller = new AbortController();
      const reason = new RksError("UNAVAILABLE", "stopping");
      const dial = transport.dial(dialOptions(server, harness, { signal: controller.signal }));
      controller.abort(reason);
      await assertRejectsWith(dial, reason);
      await using client = await transport.dial(dialOptions(server, harness));
      assertSame(client.alpn, ALPN, "a second dial");
    },
  },
  {
    name: "the peer sees code and reason of a close, and both sides learn who closed",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      await pair.client.close({ code: 4001, reason: "node is stopping" });
      const near = await pair.client.ended;
      const far = await pair.accepted.ended;
      assertSame([near.by, near.code, near.reason], ["local", 4001, "node is stopping"], "own side");
      assertSame([far.by, far.code, far.reason], ["peer", 4001, "node is stopping"], "the peer's side");
      assertSame((far.error as RksError).code, "CONNECTION_LOST", "error");
    },
  },
  {
    name: "a close from the server's side reaches the client",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      await pair.accepted.close({ code: 9, reason: "banned" });
      const { by, code, reason } = await pair.client.ended;
      assertSame([by, code, reason], ["peer", 9, "banned"], "the client's side");
    },
  },
  {
    name: "closing twice and disposing of a closed connection change nothing",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      await Promise.all([pair.client.close({ code: 1, reason: "first" }), pair.client.close({ code: 2 })]);
      await pair.client[Symbol.asyncDispose]();
      const { code, reason } = await pair.client.ended;
      assertSame([code, reason], [1, "first"], "the first close counts");
      await pair.accepted.ended;
      await pair.accepted.close({ code: 3 });
      assertSame((await pair.accepted.ended).code, 1, "the peer's close counts");
    },
  },
  {
    name: "what waits on a connection is rejected when this side closes it",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness, {
        listen: { limits: { maxIncomingStreams: 1 } },
      });
      const { near } = await pair.openStream();
      const waiting = [near.read(), pair.client.openStream()];
      const rejected = Promise.all(waiting.map((wait) => assertRejects(wait, "CONNECTION_LOST")));
      await pair.client.close();
      await rejected;
      await assertRejects(near.write(Uint8Array.of(1)), "CONNECTION_LOST");
      await assertRejects(pair.client.openStream(), "CONNECTION_LOST");
    },
  },
  {
    name: "what waits on a connection is rejected when the peer closes it",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness, {
        listen: { limits: { maxIncomingStreams: 1 } },
      });
      const { near } = await pair.openStream();
      const waiting = [near.read(), pair.client.openStream()];
      const rejected = Promise.all(waiting.map((wait) => assertRejects(wait, "CONNECTION_LOST")));
      await pair.accepted.close({ code: 7, reason: "over" });
      await rejected;
      await assertRejects(near.write(Uint8Array.of(1)), "CONNECTION_LOST");
    },
  },
  {
    name: "the loop over incoming streams ends with the connection",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const streams = pair.client.incomingStreams()[Symbol.asyncIterator]();
      const next = streams.next();
      await pair.accepted.close();
      assertSame((await next).done, true, "the loop's end");
    },
  },
  {
    name: "closing the listener closes its connections with the code, ends its loop and frees the address",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const next = pair.server.connection();
      await pair.server.listener.close({ code: 3, reason: "stopping" });
      await pair.server.listener.close();
      const { by, code, reason } = await pair.client.ended;
      assertSame([by, code, reason], ["peer", 3, "stopping"], "the client's side");
      assertSame(await next, undefined, "the listener's loop");
      const { port } = pair.server.listener.address;
      await using again = await ContractServer.open(transport, harness, { port });
      assertSame(again.listener.address.port, port, "the address can be used again");
    },
  },
  {
    name: "connections beyond the limit are closed with BUSY, and a place that becomes free is given again",
    async run(transport, harness) {
      await using server = await ContractServer.open(transport, harness, { maxConnections: 1 });
      const first = await transport.dial(dialOptions(server, harness));
      const accepted = await server.connection();
      await using second = await transport.dial(dialOptions(server, harness));
      const { by, code } = await second.ended;
      assertSame([by, code], ["peer", CLOSE_CODES.BUSY], "the second connection");
      await first.close();
      await accepted?.ended;
      await using third = await transport.dial(dialOptions(server, harness));
      assertSame((await server.connection())?.remoteAddress.port, third.localAddress.port, "the third");
    },
  },
  {
    name: "many connections at once are kept apart",
    async run(transport, harness) {
      await using server = await ContractServer.open(transport, harness);
      const dials = Array.from({ length: 8 }, () => transport.dial(dialOptions(server, harness)));
      const clients = await Promise.all(dials);
      const ports = new Set<number>();
      for (let i = 0; i < clients.length; i++) ports.add((await server.connection())!.remoteAddress.port);
      const expected = new Set(clients.map((client) => client.localAddress.port));
      assertSame([...ports].every((port) => expected.has(port)) && ports.size, 8, "ports of the connections");
      await Promise.all(clients.map((client) => client.close()));
    },
  },
  {
    name: "a probe shows the server's chain without verifying it and gives the server no connection",
    async run(transport, harness) {
      await using server = await ContractServer.open(transport, harness);
      const { certificateChain } = harness.serverCredentials();
      const chain = await transport.probe({
        host: HOST,
        port: server.listener.address.port,
        alpn: ALPN,
        serverName: harness.serverName,
      });
      assertSame(chain, certificateChain, "chain");
      await using client = await transport.dial(dialOptions(server, harness));
      const first = await server.connection();
      assertSame(first?.remoteAddress.port, client.localAddress.port, "the first connection at the server");
    },
  },
];
