import { expect, test } from "vitest";
import { MAX_PATHS } from "./limits.js";
import { Cluster, request, serveEcho } from "./testing/link.js";
import { LossyRelay } from "./testing/lossy-relay.js";

const cluster = await Cluster.create();
const SMALL = new Uint8Array(10).fill(1);
const LARGE = new Uint8Array(200_000).fill(2);

test("a connection goes on when a NAT gives its client other ports, and ends by the idle timeout after too many", async () => {
  const limits = { idleTimeoutMs: 1500 };
  await using server = await cluster.listen({ limits });
  const serving = serveEcho(server.listener);
  await using relay = await LossyRelay.open(server.port, { loss: 0, reordering: 0, random: () => 1 });
  await using connection = await cluster.dial(relay.port, { limits });

  for (let path = 1; path < MAX_PATHS; path++) {
    expect(await request(connection, SMALL)).toEqual(SMALL);
    relay.rebind();
  }
  expect(await request(connection, LARGE)).toEqual(LARGE);

  relay.rebind();
  await expect(request(connection, SMALL)).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  await server.listener.close();
  await serving;
}, 20_000);
