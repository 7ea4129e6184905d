import { systemClock } from "@rk8s/host";
import { request } from "@rk8s/protocol";
import { createQuicTransport } from "@rk8s/quic";
import { expect, test } from "vitest";
import { createAgent } from "./agent.js";
import { connectOperator } from "./session/connect-operator.js";
import { aPod, FakePodHost } from "./testing/fake-pod-host.js";
import { FakeRks } from "./testing/fake-rks.js";

/** A fake control plane behind real QUIC and real TLS. */
async function quicRks(
  init: { readonly tokenName?: string; readonly heartbeatIntervalSeconds?: number } = {},
) {
  return FakeRks.start({
    clock: systemClock,
    transport: createQuicTransport({ clock: systemClock }),
    ...init,
  });
}

test("an agent joins by pin alone over QUIC and sends heartbeats over mutual TLS", async () => {
  await using rks = await quicRks({ tokenName: "worker-1", heartbeatIntervalSeconds: 0.1 });
  await using agent = await createAgent({ rksAddress: rks.address, joinToken: rks.joinToken });
  await rks.received("Heartbeat", 2);
  expect(agent.nodeName).toBe("worker-1");
  expect(rks.connections.at(-1)!.peerCertificates).toHaveLength(1);
  await agent.stop();
  await agent.finished;
  expect(rks.requests.at(-1)).toMatchObject({ type: "NodeStopping" });
});

test("hundreds of requests in both directions leave no stream behind", async () => {
  const pods = new FakePodHost();
  await using rks = await quicRks({ tokenName: "worker-1" });
  await using agent = await createAgent({ rksAddress: rks.address, joinToken: rks.joinToken, pods });
  await rks.received("RegisterNode");
  const connection = rks.connections.at(-1)!;
  for (let batch = 0; batch < 8; batch++) {
    await Promise.all(
      Array.from({ length: 40 }, async (_, i) =>
        request(connection, { type: "CreatePod", pod: aPod(`pod-${batch}-${i}`) }, "Ack", {
          clock: systemClock,
        }),
      ),
    );
  }
  await rks.received("UpdatePodStatus", 320);
  expect(pods.pods.size).toBe(320);
  await agent.stop();
});

test("an operator asks over QUIC", async () => {
  await using rks = await quicRks();
  await using connection = await connectOperator({ rksAddress: rks.address, joinToken: rks.joinToken });
  expect(await connection.request({ type: "ListNodes" }, "NodeList")).toMatchObject({ nodes: [] });
});
