import { setTimeout as sleep } from "node:timers/promises";
import { createAgent } from "@rk8s/agent";
import { type Connection, equalBytes, type Message, type Transport } from "@rk8s/protocol";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { askRks, clusterState, newToken, tokenState } from "./harness/ask-rks.js";
import { Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { type Application, join, RawAgent, refusalOf, transport } from "./harness/raw-agent.js";
import { aKey, aRequest } from "./harness/raw-request.js";
import { UdpRelay } from "./harness/udp-relay.js";

let cluster: Cluster;
let names = 0;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

function aName(): string {
  return `worker-${++names}`;
}

/** The body of the Certificate that answers an application on a connection of its own. */
async function certificateBody(asked: Application, of: Cluster = cluster): Promise<Uint8Array> {
  await using agent = await RawAgent.dial(of);
  const { message, body } = await agent.ask(agent.application(await agent.greet(), asked));
  expect(message.type).toBe("Certificate");
  return body;
}

/** Send an application whose answer gets lost; returns once rks has committed it, with the serial of what it issued. */
async function joinUnheard(asked: Application, tokenId: string, of: Cluster = cluster): Promise<string> {
  await using relay = await UdpRelay.open(of.address);
  await using agent = await RawAgent.dial(of, { address: relay.address });
  const application = agent.application(await agent.greet(), asked);
  relay.swallowsAnswers = true;
  agent.ask(application).catch(() => undefined);
  await eventually(
    () => tokenState(of, tokenId),
    ({ usedCount }) => usedCount === 1,
  );
  const { nodes } = await clusterState(of);
  return nodes.find(({ name }) => name === asked.nodeName)!.serial;
}

function serialIn(body: Uint8Array): string {
  return (JSON.parse(Buffer.from(body).toString()) as { Certificate: Message<"Certificate"> }).Certificate
    .serialNumber;
}

/** The answer to this application now is this one, byte for byte. */
async function expectSame(asked: Application, body: Uint8Array, of: Cluster = cluster): Promise<void> {
  expect(Buffer.from(await certificateBody(asked, of)).equals(body)).toBe(true);
}

describe("an agent whose Certificate got lost", () => {
  test("gets the one that was issued, as often as it asks, and the token is used once", async () => {
    const { token, id } = await newToken(cluster, { uses: 3 });
    const asked = { token, csr: aRequest({ key: aKey() }), nodeName: aName() };

    const serial = await joinUnheard(asked, id);

    const body = await certificateBody(asked);
    expect(serialIn(body)).toBe(serial);
    await expectSame(asked, body);
    await expectSame(asked, body);
    expect(await tokenState(cluster, id)).toMatchObject({ usedCount: 1 });
  });

  test("gets it for the same key, also by a request that is signed anew", async () => {
    const { token, id } = await newToken(cluster);
    const key = aKey();
    const asked = { token, csr: aRequest({ key }), nodeName: aName() };
    await joinUnheard(asked, id);
    const again = { ...asked, csr: aRequest({ key }) };
    expect(equalBytes(asked.csr, again.csr)).toBe(false);

    await expectSame(again, await certificateBody(asked));
  });

  test("gets it when the token is used up, and another key does not", async () => {
    const { token, id } = await newToken(cluster);
    const asked = { token, csr: aRequest({ key: aKey() }), nodeName: aName() };
    await joinUnheard(asked, id);

    const body = await certificateBody(asked);
    const other = { ...asked, csr: aRequest({ key: aKey() }) };
    expect(await refusalOf(join(cluster, other))).toBe("JOIN_TOKEN_USED");
    expect(await refusalOf(join(cluster, { ...other, nodeName: aName() }))).toBe("JOIN_TOKEN_USED");
    await expectSame(asked, body);
    expect(await tokenState(cluster, id)).toMatchObject({ status: "used", usedCount: 1 });
  });

  test("gets it when the token has expired, and another key does not", async () => {
    const { token, id, expiresAt } = await newToken(cluster, { ttlSeconds: 1, uses: 2 });
    const asked = { token, csr: aRequest({ key: aKey() }), nodeName: aName() };
    const serial = await joinUnheard(asked, id);
    await sleep(Date.parse(expiresAt) - Date.now() + 50);

    const body = await certificateBody(asked);
    expect(serialIn(body)).toBe(serial);
    const other = { ...asked, csr: aRequest({ key: aKey() }), nodeName: aName() };
    expect(await refusalOf(join(cluster, other))).toBe("JOIN_TOKEN_EXPIRED");
    await expectSame(asked, body);
  });

  test("does not get it when the token was revoked", async () => {
    const { token, id } = await newToken(cluster);
    const asked = { token, csr: aRequest({ key: aKey() }), nodeName: aName() };
    await joinUnheard(asked, id);
    await askRks(cluster, "DELETE", `/v1/rk8s/join-tokens/${id}`);

    expect(await refusalOf(join(cluster, asked))).toBe("JOIN_TOKEN_REVOKED");
  });

  test("does not get it when the node was evicted, nor the name back", async () => {
    const { token, id } = await newToken(cluster);
    const asked = { token, csr: aRequest({ key: aKey() }), nodeName: aName() };
    await joinUnheard(asked, id);
    await askRks(cluster, "POST", `/v1/rk8s/nodes/${asked.nodeName}/evict`, {});

    expect(await refusalOf(join(cluster, asked))).toBe("JOIN_TOKEN_USED");
    const { nodes } = await clusterState(cluster);
    expect(nodes.map(({ name }) => name)).not.toContain(asked.nodeName);
  });

  test("does not get another one under another name", async () => {
    const { token, id } = await newToken(cluster, { uses: 2 });
    const asked = { token, csr: aRequest({ key: aKey() }), nodeName: aName() };
    await joinUnheard(asked, id);
    const before = await clusterState(cluster);

    expect(await refusalOf(join(cluster, { ...asked, nodeName: aName() }))).toBe("ALREADY_EXISTS");
    expect(await clusterState(cluster)).toEqual(before);
  });

  test("has to prove again that it holds the token", async () => {
    const { token, id } = await newToken(cluster);
    const asked = { token, csr: aRequest({ key: aKey() }), nodeName: aName() };
    await joinUnheard(asked, id);

    const unproven = { ...asked, proven: { welcome: new Uint8Array(100) } };
    expect(await refusalOf(join(cluster, unproven))).toBe("JOIN_TOKEN_INVALID");
  });

  test("gets the same on ten connections at the same moment, and the token is used once", async () => {
    const { token, id } = await newToken(cluster, { uses: 10 });
    const asked = { token, csr: aRequest({ key: aKey() }), nodeName: aName() };

    const bodies = await Promise.all(Array.from({ length: 10 }, () => certificateBody(asked)));

    expect(new Set(bodies.map((body) => Buffer.from(body).toString("hex"))).size).toBe(1);
    expect(await tokenState(cluster, id)).toMatchObject({ usedCount: 1 });
  });
});

/** The SDK's transport; what happens to its first CertificateSign is `onSign`'s to say, once it is on its way. */
function interrupted(onSign: (connection: Connection) => Promise<void>): Transport {
  let isFirst = true;
  return {
    listen: (options) => transport.listen(options),
    probe: (options) => transport.probe(options),
    async dial(options) {
      const connection = await transport.dial(options);
      if (!isFirst) return connection;
      isFirst = false;
      let streams = 0;
      const openStream: Connection["openStream"] = async (call) => {
        const stream = await connection.openStream(call);
        // Hello was the first.
        if (++streams === 2) void onSign(connection);
        return stream;
      };
      return new Proxy(connection, {
        get(target, property) {
          if (property === "openStream") return openStream;
          const value: unknown = Reflect.get(target, property, target);
          return typeof value === "function" ? (value.bind(target) as unknown) : value;
        },
      });
    },
  };
}

test("the SDK asks again by itself and gets the certificate that was issued", async () => {
  const { token, id } = await newToken(cluster);
  const nodeName = aName();
  await using relay = await UdpRelay.open(cluster.address);
  let issued: string | undefined;
  await using agent = await createAgent({
    rksAddress: relay.address,
    joinToken: token,
    nodeName,
    rootCertPath: cluster.rootCertPath,
    transport: interrupted(async (connection) => {
      relay.swallowsAnswers = true;
      await eventually(
        () => tokenState(cluster, id),
        ({ usedCount }) => usedCount === 1,
      );
      issued = (await clusterState(cluster)).nodes.find(({ name }) => name === nodeName)?.serial;
      await connection.close();
      relay.swallowsAnswers = false;
    }),
  });

  const events: string[] = [];
  for await (const event of agent.events()) {
    events.push(event.event);
    if (event.event !== "registered") continue;
    expect(event.serial).toBe(issued);
    break;
  }

  expect(events).toEqual(["reconnecting", "joined", "connected", "registered"]);
  expect(await tokenState(cluster, id)).toMatchObject({ status: "used", usedCount: 1 });
});

describe("an rks that is killed", () => {
  async function killAndStartAgain(own: Cluster): Promise<void> {
    own.controlPlane.kill("SIGKILL");
    await own.controlPlane.exited;
    await own.startControlPlane();
  }

  test("right after the commit answers the same key with the same bytes once it is back", async () => {
    await using own = await Cluster.start();
    const { token, id } = await newToken(own);
    const asked = { token, csr: aRequest({ key: aKey() }), nodeName: "worker-1" };
    const serial = await joinUnheard(asked, id, own);

    await killAndStartAgain(own);

    const body = await certificateBody(asked, own);
    expect(serialIn(body)).toBe(serial);
    await killAndStartAgain(own);
    await expectSame(asked, body, own);
    const other = { ...asked, csr: aRequest({ key: aKey() }) };
    expect(await refusalOf(join(own, other))).toBe("JOIN_TOKEN_USED");
    expect(await tokenState(own, id)).toMatchObject({ usedCount: 1 });
  });

  test("at any moment of a join has either joined the node or used nothing, and takes it in when it asks again", async () => {
    await using own = await Cluster.start();
    for (const [round, killAfterMs] of [0, 2, 6].entries()) {
      const { token, id } = await newToken(own, { uses: 2 });
      const asked = { token, csr: aRequest({ key: aKey() }), nodeName: `worker-${round}` };
      await using agent = await RawAgent.dial(own);
      agent.ask(agent.application(await agent.greet(), asked)).catch(() => undefined);
      await sleep(killAfterMs);
      await killAndStartAgain(own);

      const { usedCount } = await tokenState(own, id);
      const { nodes } = await clusterState(own);
      expect(nodes.filter(({ name }) => name === asked.nodeName)).toHaveLength(usedCount);
      const certificate = await join(own, asked);
      expect(certificate.nodeName).toBe(asked.nodeName);
      expect(await tokenState(own, id)).toMatchObject({ usedCount: 1 });
    }
  });
});
