import { CLOSE_CODES, request, type MessageType } from "@rk8s/protocol";
import { afterEach, expect, test, vi } from "vitest";
import { wipeStashed, type IdentityStash } from "../identity/identity-stash.js";
import { KeyPair } from "../identity/key-pair.js";
import {
  answering,
  aRenewingNode,
  DUE_MS,
  LIFETIME_MS,
  names,
  NODE,
  pause,
  requestsOf,
  RETRY_MS,
  TIMEOUT_MS,
  typesOf,
} from "../testing/a-renewing-node.js";
import { refusal } from "../testing/fake-rks.js";

afterEach(() => {
  vi.restoreAllMocks();
});

/** Every key pair that is made from now on. */
function watchKeys(): { readonly all: KeyPair[]; alive(): KeyPair[] } {
  const all: KeyPair[] = [];
  const create = KeyPair.create.bind(KeyPair);
  vi.spyOn(KeyPair, "create").mockImplementation((algorithm) => {
    const keyPair = create(algorithm);
    all.push(keyPair);
    return keyPair;
  });
  return { all, alive: () => all.filter(isAlive) };
}

function isAlive(keyPair: KeyPair): boolean {
  try {
    keyPair.exportPrivateKey().fill(0);
    return true;
  } catch {
    return false;
  }
}

test("at two thirds of its lifetime a certificate is renewed inside the session, and the node is handed over", async () => {
  const { clock, rks, agent, until } = await aRenewingNode();
  await pause(clock, DUE_MS);
  const events = await until("renewed");
  expect(names(events)).toEqual(["renewed"]);
  const notAfter = new Date(clock.now() + LIFETIME_MS).toISOString();
  const renewAt = new Date(clock.now() + DUE_MS).toISOString();
  const { current: serial } = rks.serialsOf(NODE);
  expect(events[0]).toMatchObject({ node: NODE, serial, notAfter, renewAt, generation: 1 });
  expect(typesOf(rks)).toEqual(["CertificateRenew", "Hello", "RegisterNode"]);
  const [, old, renewed] = rks.connections;
  expect(renewed!.peerCertificates).not.toEqual(old!.peerCertificates);
  // The old connection is closed once nothing has been asked over it for a second.
  await pause(clock, 1000);
  expect(await old!.ended).toMatchObject({ by: "peer", code: CLOSE_CODES.DONE });
  await agent.stop();
  expect(typesOf(rks).at(-1)).toBe("NodeStopping");
  expect(clock.pendingSleeps).toBe(0);
});

test("twenty generations follow each other without a lost connection, and only the newest key is there", async () => {
  const keys = watchKeys();
  const { clock, rks, agent, until } = await aRenewingNode();
  for (let generation = 1; generation <= 20; generation++) {
    await pause(clock, DUE_MS);
    expect(names(await until("renewed"))).toEqual(["renewed"]);
    expect(keys.alive()).toEqual([keys.all[generation]]);
  }
  expect(new Set(requestsOf(rks)).size).toBe(20);
  await agent.stop();
  expect(keys.alive()).toEqual([]);
});

test("an answer that is lost is asked for again with the same request", async () => {
  const { clock, rks, agent, until, warnings } = await aRenewingNode({
    answer: answering("CertificateRenew", "silence"),
  });
  await pause(clock, DUE_MS);
  await rks.received("CertificateRenew");
  await pause(clock, TIMEOUT_MS);
  await pause(clock, RETRY_MS);
  expect(names(await until("renewed"))).toEqual(["renewed"]);
  const [first, second] = requestsOf(rks);
  expect(second).toBe(first);
  expect(warnings).toEqual(["Certificate could not be renewed yet (TIMED_OUT)"]);
  await agent.stop();
});

test("a busy control plane is asked again with the same request, a refused request is replaced", async () => {
  const codes = ["BUSY", "CSR_INVALID", "PERMISSION_DENIED"] as const;
  let asked = 0;
  const keys = watchKeys();
  const { clock, rks, agent, until, warnings } = await aRenewingNode({
    answer({ message }) {
      const code = message.type === "CertificateRenew" ? codes[asked++] : undefined;
      return code && refusal(code);
    },
  });
  await pause(clock, DUE_MS);
  for (let i = 0; i < codes.length; i++) await pause(clock, RETRY_MS);
  expect(names(await until("renewed"))).toEqual(["renewed"]);
  const [busy, invalid, denied, taken] = requestsOf(rks);
  expect(invalid).toBe(busy);
  expect(new Set([invalid, denied, taken]).size).toBe(3);
  expect(keys.alive()).toHaveLength(1);
  expect(warnings).toEqual(codes.map((code) => `Certificate could not be renewed yet (${code})`));
  await agent.stop();
});

test("a certificate that does not hold is not used", async () => {
  const { clock, rks, agent, until, warnings } = await aRenewingNode({
    answer: ({ message }) =>
      message.type === "CertificateRenew" && requestsOf(rks).length === 1
        ? rks.certificateFor(message.csr, { name: "worker-2", kind: "node" })
        : undefined,
  });
  await pause(clock, DUE_MS);
  await pause(clock, RETRY_MS);
  expect(names(await until("renewed"))).toEqual(["renewed"]);
  expect(typesOf(rks)).toEqual(["CertificateRenew", "CertificateRenew", "Hello", "RegisterNode"]);
  expect(warnings).toEqual(["Certificate could not be renewed yet (CERTIFICATE_INVALID)"]);
  await agent.stop();
});

test.each(["NODE_BANNED", "NODE_EVICTED", "IDENTITY_CLONED", "CERTIFICATE_REVOKED"] as const)(
  "%s as the answer to a renewal ends the node",
  async (code) => {
    const { clock, agent, until } = await aRenewingNode({
      answer: answering("CertificateRenew", refusal(code)),
    });
    await pause(clock, DUE_MS);
    expect((await until("error")).at(-1)).toMatchObject({ code });
    await expect(agent.finished).rejects.toMatchObject({ code });
  },
);

test("a certificate that cannot be renewed in time ends the node, and says why", async () => {
  const { clock, agent, until, warnings } = await aRenewingNode({
    answer: answering("CertificateRenew", refusal("UNAVAILABLE"), { count: 1000 }),
  });
  await pause(clock, DUE_MS);
  const over = agent.finished.catch(() => "over" as const);
  for (;;) {
    const ms = await Promise.race([clock.nextSleep(), over]);
    if (typeof ms !== "number") break;
    if (ms <= RETRY_MS) clock.advance(ms);
  }
  expect((await until("error")).at(-1)).toMatchObject({
    code: "CERTIFICATE_EXPIRED",
    message: expect.stringMatching(
      /expired at .* and could not be renewed: refused with UNAVAILABLE/,
    ) as string,
    suggestion: expect.stringContaining("rks node rejoin worker-1") as string,
  });
  expect(warnings.length).toBeGreaterThanOrEqual(5);
});

/** Where a renewal can be interrupted: the message that got no answer, how many of its type had one before. */
const STEPS: readonly { readonly type: MessageType; readonly before: number }[] = [
  { type: "CertificateRenew", before: 0 },
  { type: "Hello", before: 2 },
  { type: "RegisterNode", before: 1 },
];

test.each(STEPS)("a connection lost while $type is not answered costs the node nothing", async (step) => {
  const { type, before } = step;
  const keys = watchKeys();
  const { clock, rks, agent, until } = await aRenewingNode({
    answer: answering(type, "silence", { from: before + 1 }),
  });
  await pause(clock, DUE_MS);
  await rks.received(type, before + 1);
  rks.loseConnections();
  expect(names(await until("reconnecting"))).toEqual(["disconnected", "reconnecting"]);
  await pause(clock, 500);
  expect(names(await until("renewed"))).toContain("connected");
  expect(new Set(requestsOf(rks)).size).toBe(1);
  expect(rks.serialsOf(NODE).next).toBeUndefined();
  expect(keys.alive()).toHaveLength(1);
  await agent.stop();
  expect(clock.pendingSleeps).toBe(0);
});

test.each(STEPS)("stopping while $type is not answered takes no time and leaves no key", async (step) => {
  const { type, before } = step;
  const keys = watchKeys();
  const { clock, rks, agent } = await aRenewingNode({
    answer: answering(type, "silence", { from: before + 1 }),
  });
  await pause(clock, DUE_MS);
  await rks.received(type, before + 1);
  await agent.stop();
  expect(typesOf(rks).at(-1)).toBe("NodeStopping");
  expect(keys.alive()).toEqual([]);
  expect(clock.pendingSleeps).toBe(0);
  for (const connection of rks.connections) await connection.ended;
});

test("a new connection that fails is made again with the same certificate, while the old one goes on", async () => {
  const { clock, rks, agent, until, warnings } = await aRenewingNode({
    answer: answering("RegisterNode", refusal("UNAVAILABLE"), { from: 2, count: 2 }),
  });
  await pause(clock, DUE_MS);
  await pause(clock, RETRY_MS);
  await pause(clock, RETRY_MS);
  expect(names(await until("renewed"))).toEqual(["renewed"]);
  expect(requestsOf(rks)).toHaveLength(1);
  expect(warnings).toHaveLength(2);
  await agent.stop();
});

test("a control plane that was put back to before the renewal gets the certificate from before, and renews it", async () => {
  const keys = watchKeys();
  let greeted = 0;
  const { clock, rks, agent, until, warnings } = await aRenewingNode({
    answer({ message }) {
      if (message.type === "Hello" && ++greeted === 3) rks.forgetNext(NODE);
      return undefined;
    },
  });
  await pause(clock, DUE_MS);
  await pause(clock, RETRY_MS);
  expect(names(await until("renewed"))).toEqual(["renewed"]);
  expect(new Set(requestsOf(rks)).size).toBe(2);
  expect(warnings).toEqual(["Certificate could not be renewed yet (CONFLICT)"]);
  expect(keys.alive()).toHaveLength(1);
  await agent.stop();
});

test("an old connection that is closed for its certificate's sake does not end a node with a newer one", async () => {
  const { clock, rks, agent, until } = await aRenewingNode({
    answer: answering("RegisterNode", "silence", { from: 2 }),
  });
  await pause(clock, DUE_MS);
  await rks.received("RegisterNode", 2);
  await rks.connections[1]!.close({ code: CLOSE_CODES.CERTIFICATE_REVOKED, reason: "superseded" });
  expect(names(await until("reconnecting"))).toEqual(["disconnected", "reconnecting"]);
  await pause(clock, 500);
  expect(names(await until("registered"))).toEqual(["connected", "renewed", "registered"]);
  await agent.stop();
});

test("two demands at once are one renewal", async () => {
  const { rks, agent, until, clock } = await aRenewingNode();
  agent.renewNow("the host has slept");
  const demanded = { type: "RenewalRequired", reason: "new root" } as const;
  await request(rks.connections[1]!, demanded, "Ack", { clock });
  expect(names(await until("renewed"))).toEqual(["renewed"]);
  expect(requestsOf(rks)).toHaveLength(1);
  await agent.stop();
});

test("a demand after the request has left is another renewal, a second later at the earliest", async () => {
  const { clock, rks, agent, until } = await aRenewingNode({
    answer({ message }) {
      if (message.type === "CertificateRenew" && requestsOf(rks).length === 1) agent.renewNow("new root");
      return undefined;
    },
  });
  agent.renewNow("the host has slept");
  await until("renewed");
  const second = until("renewed");
  // Twice: the old connection's quiet second is one of them.
  await pause(clock, 1000);
  await second;
  expect(new Set(requestsOf(rks)).size).toBe(2);
  await agent.stop();
});

test("a demand while nothing is connected is served once there is a connection", async () => {
  const { clock, rks, agent, until } = await aRenewingNode();
  rks.loseConnections();
  await until("reconnecting");
  agent.renewNow("the host has slept");
  await pause(clock, 500);
  expect(names(await until("renewed"))).toEqual(["connected", "registered", "renewed"]);
  await agent.stop();
});

test("a wall clock that is set back does not put a renewal off", async () => {
  const { clock, agent, until } = await aRenewingNode();
  clock.jump(-30_000);
  await pause(clock, DUE_MS);
  expect(names(await until("renewed"))).toEqual(["renewed"]);
  await agent.stop();
});

test("a key is kept before its request leaves, a certificate before its first use", async () => {
  const kept: string[] = [];
  const stash: IdentityStash = {
    load: () => Promise.resolve(undefined),
    clear: () => Promise.resolve(),
    save({ current, pending }) {
      const what = [current, pending].map((key) => (key?.answer ? "certificate" : key ? "key" : "nothing"));
      kept.push(what.join(", "));
      return Promise.resolve();
    },
  };
  const { clock, agent, until } = await aRenewingNode(
    {
      answer({ message }) {
        kept.push(message.type);
        return undefined;
      },
    },
    { stash },
  );
  kept.length = 0;
  await pause(clock, DUE_MS);
  await until("renewed");
  expect(kept).toEqual([
    "certificate, key",
    "CertificateRenew",
    "certificate, certificate",
    "Hello",
    "certificate, nothing",
    "RegisterNode",
  ]);
  await agent.stop();
});

test("a stash that fails does not keep a certificate from being renewed", async () => {
  const stash: IdentityStash = {
    load: () => Promise.resolve(undefined),
    clear: () => Promise.resolve(),
    save(state) {
      wipeStashed(state);
      return Promise.reject(new Error("the pipe is broken"));
    },
  };
  const { clock, agent, until } = await aRenewingNode({}, { stash });
  await pause(clock, DUE_MS);
  expect(names(await until("renewed"))).toEqual(["renewed"]);
  await agent.stop();
});
