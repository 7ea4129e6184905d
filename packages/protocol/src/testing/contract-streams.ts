import { RksError } from "../errors.js";
import { assertRejects, assertRejectsWith, assertSame, assertTrue, rejection } from "./assert.js";
import type { ContractCase } from "./contract-case.js";
import { Pair, patternBytes, readAll, serveEcho } from "./contract-server.js";

/** More than any sensible window of one stream, little enough to send in a test. */
const MUCH = 8 * 1_048_576;
const PIECE = 65_536;

/** Bytes in both directions, their limits and their ends. */
export const STREAM_CASES: readonly ContractCase[] = [
  {
    name: "bytes come back as they were sent",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const echo = serveEcho(pair.accepted);
      const stream = await pair.client.openStream();
      const sent = patternBytes(300_000);
      const back = readAll(stream);
      await stream.write(sent);
      stream.end();
      assertSame(await back, sent, "echo");
      await pair.client.close();
      await echo;
    },
  },
  {
    name: "either side may open streams",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const streams = pair.client.incomingStreams()[Symbol.asyncIterator]();
      const far = await pair.accepted.openStream();
      await far.write(Uint8Array.of(7));
      far.end();
      const next = await streams.next();
      assertSame(next.done, false, "a stream came");
      assertSame(await readAll(next.value), Uint8Array.of(7), "what the server wrote");
    },
  },
  {
    name: "many streams at once do not mix",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const echo = serveEcho(pair.accepted);
      const ask = async (number: number): Promise<void> => {
        const stream = await pair.client.openStream();
        const sent = patternBytes(1000 + number).map((byte) => byte ^ number);
        await stream.write(sent);
        stream.end();
        assertSame(await readAll(stream), sent, `stream ${number}`);
      };
      await Promise.all(Array.from({ length: 50 }, (_, number) => ask(number)));
      await pair.client.close();
      await echo;
    },
  },
  {
    name: "the end of one direction leaves the other open",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const { near, far } = await pair.openStream();
      near.end();
      near.end();
      assertSame(await far.read(), undefined, "the end at the server");
      await far.write(Uint8Array.of(1, 2, 3));
      far.end();
      assertSame(await readAll(near), Uint8Array.of(1, 2, 3), "the answer");
      assertSame(await near.read(), undefined, "a read after the end");
    },
  },
  {
    name: "an end without bytes arrives, and so does an empty write followed by one",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const near = await pair.client.openStream();
      await near.write(new Uint8Array(0));
      near.end();
      assertSame(await readAll(await pair.stream()), new Uint8Array(0), "an empty stream");
    },
  },
  {
    name: "writing after the end is a mistake of the caller",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const { near } = await pair.openStream();
      near.end();
      assertTrue((await rejection(near.write(Uint8Array.of(1)))) instanceof TypeError, "it is a TypeError");
    },
  },
  {
    name: "a second read while one waits is a mistake of the caller",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const { near, far } = await pair.openStream();
      const first = near.read();
      assertTrue((await rejection(near.read())) instanceof TypeError, "it is a TypeError");
      await far.write(Uint8Array.of(9));
      assertSame(await first, Uint8Array.of(9), "the first read");
    },
  },
  {
    name: "a reset by the side that opened the stream fails the peer's reads and writes",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const { near, far } = await pair.openStream();
      const waiting = assertRejects(far.read(), "STREAM_RESET");
      near.reset(42);
      near.reset();
      await waiting;
      await assertRejects(writeUntilRefused(far.write.bind(far)), "STREAM_RESET");
      await assertRejects(near.read(), "STREAM_RESET");
      await pair.roundTrip();
    },
  },
  {
    name: "a reset by the side that accepted the stream fails the peer's reads and writes",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const { near, far } = await pair.openStream();
      const waiting = assertRejects(near.read(), "STREAM_RESET");
      far.reset(42);
      await waiting;
      await assertRejects(writeUntilRefused(near.write.bind(near)), "STREAM_RESET");
      await assertRejects(far.read(), "STREAM_RESET");
      await pair.roundTrip();
    },
  },
  {
    name: "a writer that waits for room is woken by a reset",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const { near, far } = await pair.openStream();
      const writing = assertRejects(near.write(new Uint8Array(MUCH)), "STREAM_RESET");
      await pair.roundTrip();
      far.reset();
      await writing;
    },
  },
  {
    name: "a writer waits while the peer does not read, other streams go on, and nothing is lost",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const { near, far } = await pair.openStream();
      let accepted = 0;
      const writing = (async () => {
        for (; accepted < MUCH; accepted += PIECE)
          await near.write(new Uint8Array(PIECE).fill(accepted >> 16));
        near.end();
      })();
      for (let i = 0; i < 20; i++) await pair.roundTrip();
      assertTrue(accepted < MUCH / 2, `the writer is held back, but it could write ${accepted} bytes`);
      let read = 0;
      for (let part = await far.read(); part !== undefined; part = await far.read()) {
        assertTrue(
          part.every((byte, at) => byte === (((read + at) / PIECE) & 0xff)),
          `byte ${read} and those after it are the ones sent`,
        );
        read += part.length;
      }
      await writing;
      assertSame(read, MUCH, "bytes read");
    },
  },
  {
    name: "opening a stream waits while the peer allows no more, and goes on when one is over",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness, {
        listen: { limits: { maxIncomingStreams: 2 } },
      });
      const first = await pair.openStream();
      await pair.openStream();
      const order: string[] = [];
      const third = pair.client.openStream().then((stream) => {
        order.push("opened");
        return stream;
      });
      await first.far.write(Uint8Array.of(1));
      await first.near.read();
      order.push("one is over");
      first.near.end();
      first.far.end();
      await readAll(first.far);
      await readAll(first.near);
      await (await third).write(Uint8Array.of(3));
      assertSame(await (await pair.stream()).read(), Uint8Array.of(3), "the third stream");
      assertSame(order, ["one is over", "opened"], "order");
    },
  },
  {
    name: "far more streams than the limit can be used one after another",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness, {
        listen: { limits: { maxIncomingStreams: 2 } },
      });
      for (let i = 0; i < 20; i++) await pair.roundTrip();
    },
  },
  {
    name: "streams that were reset give their place back",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness, {
        listen: { limits: { maxIncomingStreams: 2 } },
      });
      for (let i = 0; i < 20; i++) {
        const { near, far } = await pair.openStream();
        if (i % 2 === 0) near.reset();
        else far.reset();
        await rejection(i % 2 === 0 ? far.read() : near.read());
      }
      await pair.roundTrip();
    },
  },
  {
    name: "waiting for a stream can be aborted and takes no place",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness, {
        listen: { limits: { maxIncomingStreams: 1 } },
      });
      const { near, far } = await pair.openStream();
      const controller = new AbortController();
      const reason = new RksError("UNAVAILABLE", "stopping");
      const waiting = pair.client.openStream({ signal: controller.signal });
      controller.abort(reason);
      await assertRejectsWith(waiting, reason);
      await assertRejectsWith(pair.client.openStream({ signal: controller.signal }), reason);
      near.end();
      far.end();
      await Promise.all([readAll(far), readAll(near)]);
      await pair.roundTrip();
    },
  },
  {
    name: "an aborted read rejects with the reason and loses no bytes",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const { near, far } = await pair.openStream();
      const controller = new AbortController();
      const reason = new RksError("UNAVAILABLE", "stopping");
      const waiting = far.read({ signal: controller.signal });
      controller.abort(reason);
      await assertRejectsWith(waiting, reason);
      await near.write(Uint8Array.of(5));
      await assertRejectsWith(far.read({ signal: controller.signal }), reason);
      assertSame(await far.read(), Uint8Array.of(5), "the next read");
    },
  },
  {
    name: "a write that waits for room can be aborted, and the connection goes on",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const { near } = await pair.openStream();
      const controller = new AbortController();
      const reason = new RksError("UNAVAILABLE", "stopping");
      const writing = near.write(new Uint8Array(MUCH), { signal: controller.signal });
      controller.abort(reason);
      await assertRejectsWith(writing, reason);
      near.reset();
      await pair.roundTrip();
    },
  },
  {
    name: "what was read belongs to the reader, and what was written to the writer again",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const { near, far } = await pair.openStream();
      const bytes = Uint8Array.of(1, 2, 3);
      await near.write(bytes);
      bytes.fill(9);
      const read = await far.read();
      assertSame(read, Uint8Array.of(1, 2, 3), "what the peer reads");
      read?.fill(8);
      await near.write(Uint8Array.of(4));
      assertSame(await far.read(), Uint8Array.of(4), "the next bytes");
    },
  },
];

/** A reset may take a while to arrive; until then writes are taken. */
async function writeUntilRefused(write: (bytes: Uint8Array) => Promise<void>): Promise<never> {
  for (;;) await write(new Uint8Array(1024));
}
