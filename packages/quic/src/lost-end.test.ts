import { MessageStream } from "@rk8s/protocol";
import { expect, test, vi } from "vitest";
import { Cluster } from "./testing/link.js";
import { LossyRelay } from "./testing/lossy-relay.js";

test("an end of bytes that is lost while their acknowledgement arrives is sent again", async () => {
  const cluster = await Cluster.create();
  await using server = await cluster.listen();
  let isDropping = false;
  const random = (): number => (isDropping ? 0 : 1);
  await using relay = await LossyRelay.open(server.port, { loss: 0.5, reordering: 0, random });
  const dialing = cluster.dial(relay.port);
  const there = await server.accept();
  await using here = await dialing;

  const asked = new MessageStream(await here.openStream());
  await asked.send({ type: "Ack" });
  asked.end();
  const next = await there.incomingStreams()[Symbol.asyncIterator]().next();
  if (next.done === true) throw new Error("no stream came");
  const answer = new MessageStream(next.value);
  await answer.receiveMessage();
  await answer.receiveEnd();

  await answer.send({ type: "PodLogs", container: "main" });
  await asked.receiveMessage();
  isDropping = true;
  await answer.endBytes();
  // The acknowledgement of what was read comes only after it: a peer may wait 25 ms with that.
  await vi.waitFor(() => expect(relay.dropped).toBeGreaterThan(0), { interval: 1 });
  isDropping = false;

  expect(await asked.receive()).toEqual({ kind: "bytes", bytes: new Uint8Array() });
  expect(await asked.receive()).toBeUndefined();
});
