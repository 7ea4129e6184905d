import { RksError, silentLogger, type Stream } from "@rk8s/protocol";
import { aNodeStatus, FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { FaultyStorage } from "../join/testing/faulty-storage.js";
import { MemoryAudit } from "../join/testing/memory-audit.js";
import { ClusterRevocations } from "../pki/cluster-revocation.js";
import type { NodeLink } from "./node-link.js";
import { nodeRecords } from "./node-record.js";
import { NodeRegistry } from "./node-registry.js";
import { nodeStates } from "./node-state.js";

const actor = { actor: "test" };

/** A link that does nothing but end when it is closed. */
function aLink(nodeName = "worker-1"): NodeLink & { readonly closedWith: string[] } {
  const end = new AbortController();
  const closedWith: string[] = [];
  return {
    certificateNotAfter: 0,
    generation: 0,
    drain: () => undefined,
    nodeName,
    remoteAddress: { host: "192.0.2.9", port: 1 },
    ended: end.signal,
    closedWith,
    openStream: (): Promise<Stream> => Promise.reject(new RksError("CONNECTION_LOST", "a test's link")),
    close(code) {
      closedWith.push(code);
      end.abort();
    },
  };
}

async function aRegistry() {
  const clock = new FakeClock();
  const storage = new FaultyStorage();
  const audit = new MemoryAudit();
  const events: string[] = [];
  const registry = new NodeRegistry(
    { heartbeatGraceSeconds: 40 },
    {
      barrier: storage,
      audit,
      clock,
      logger: silentLogger,
      revocations: new ClusterRevocations(storage, "pki/"),
      onReady: (name) => events.push(`ready ${name}`),
      onForgotten: (name) => events.push(`forgotten ${name}`),
    },
  );
  const now = new Date(clock.now()).toISOString();
  const record = {
    name: "worker-1",
    uid: "uid-1",
    serialNumber: "01",
    spkiSha256: "00",
    notAfter: now,
    joinedAt: now,
    tokenId: "0123456789abcdef",
    labels: {},
    generation: 0,
  };
  await storage.transaction([], [nodeRecords(storage).put("worker-1", record)]);
  const register = (link: NodeLink): void => {
    registry.links.add(link);
    registry.links.admit(link);
    registry.register(link, { version: "1", status: aNodeStatus() });
  };
  const stored = async () => (await nodeStates(storage).read("worker-1"))?.record;
  return { clock, storage, audit, registry, events, register, stored };
}

test("a state is written when a node registers and when its liveness changes, and not in between", async () => {
  const { clock, storage, registry, register, stored } = await aRegistry();
  const link = aLink();
  register(link);
  await registry.refresh();
  expect(await stored()).toMatchObject({ liveness: "Ready", version: "1", address: "192.0.2.1" });
  const { transactions } = storage;
  for (let i = 0; i < 10; i++) {
    clock.advance(10_000);
    registry.heartbeat(link, aNodeStatus());
    await registry.refresh();
  }
  expect(storage.transactions).toBe(transactions);
  const lastHeartbeat = new Date(clock.now()).toISOString();
  clock.advance(40_001);
  await registry.refresh();
  expect(await stored()).toMatchObject({ liveness: "NotReady", lastHeartbeat });
  clock.advance(80_000);
  await registry.refresh();
  expect(await stored()).toMatchObject({ liveness: "Unknown", lastHeartbeat });
  expect(storage.transactions).toBe(transactions + 2);
});

test("a heartbeat without the machine's facts leaves those of the registration", async () => {
  const { clock, registry, register, stored } = await aRegistry();
  const link = aLink();
  const status = { ...aNodeStatus(), capacity: { cpu: "64" } };
  const nodeInfo = {
    ...{ operatingSystem: "linux", architecture: "amd64", kernelVersion: "6.1", osImage: "Debian 12" },
    ...{ machineID: "", bootID: "", kubeletVersion: "1", containerRuntimeVersion: "process://1" },
  };
  register(link);
  registry.register(link, { version: "1", status: { ...aNodeStatus(), nodeInfo } });
  registry.heartbeat(link, status);
  clock.advance(40_001);
  await registry.refresh();
  expect((await stored())?.status).toEqual({ ...status, nodeInfo });
});

test("each node is looked at when its own grace is over, whoever was heard of meanwhile", async () => {
  const { clock, registry, register } = await aRegistry();
  const links = Array.from({ length: 5 }, (_, i) => aLink(`worker-${i}`));
  for (const link of links) {
    register(link);
    clock.advance(1_000);
  }
  registry.heartbeat(links[0]!, aNodeStatus());
  for (const { notReady, afterMs } of [
    { notReady: 0, afterMs: 35_000 },
    { notReady: 0, afterMs: 1_000 },
    { notReady: 1, afterMs: 1_000 },
    { notReady: 3, afterMs: 2_000 },
    { notReady: 4, afterMs: 1_000 },
    { notReady: 5, afterMs: 1_000 },
  ]) {
    clock.advance(afterMs);
    await registry.refresh();
    expect(registry.tally()).toMatchObject({ NotReady: notReady });
  }
  clock.advance(80_000);
  await registry.refresh();
  expect(registry.tally()).toEqual({ Ready: 0, NotReady: 0, Unknown: 5 });
  registry.heartbeat(links[2]!, aNodeStatus());
  clock.advance(40_001);
  await registry.refresh();
  expect(registry.tally()).toEqual({ Ready: 0, NotReady: 1, Unknown: 4 });
});

test("a state that could not be written is written later, and heartbeats do not fail meanwhile", async () => {
  const { storage, registry, register, stored } = await aRegistry();
  storage.fault = new RksError("STORAGE_FULL", "the test filled the disk");
  register(aLink());
  await registry.refresh();
  expect(await stored()).toBeUndefined();
  storage.fault = undefined;
  await registry.refresh();
  expect(await stored()).toMatchObject({ liveness: "Ready" });
});

test("a jump of the wall clock changes nobody's liveness", async () => {
  const { clock, registry, register } = await aRegistry();
  register(aLink());
  clock.jump(86_400_000);
  expect((await registry.show("worker-1")).status).toBe("Ready");
  clock.jump(-2 * 86_400_000);
  expect((await registry.show("worker-1")).status).toBe("Ready");
});

test("a node that calls itself unhealthy is NotReady, and Ready again when it says so", async () => {
  const { registry, register, events } = await aRegistry();
  const link = aLink();
  register(link);
  registry.heartbeat(link, aNodeStatus({ conditions: [{ type: "Ready", status: "False" }] }));
  expect((await registry.show("worker-1")).status).toBe("NotReady");
  registry.heartbeat(link, aNodeStatus());
  expect((await registry.show("worker-1")).status).toBe("Ready");
  expect(events).toEqual(["ready worker-1", "ready worker-1"]);
});

test("losing the connection alone changes nothing until the grace is over", async () => {
  const { clock, registry, register } = await aRegistry();
  const link = aLink();
  register(link);
  link.close("DONE", "");
  expect(await registry.show("worker-1")).toMatchObject({ status: "Ready", isConnected: false });
  clock.advance(40_001);
  expect(await registry.show("worker-1")).toMatchObject({ status: "NotReady" });
});

test("an eviction closes every connection, forgets record and state, and is recorded", async () => {
  const { registry, register, stored, events, audit } = await aRegistry();
  const links = [aLink(), aLink()];
  register(links[0]!);
  registry.links.add(links[1]!);
  await registry.refresh();
  await registry.evict("worker-1", actor);
  expect(links.map(({ closedWith }) => closedWith)).toEqual([["NODE_EVICTED"], ["NODE_EVICTED"]]);
  await registry.refresh();
  expect(await stored()).toBeUndefined();
  expect(await registry.list()).toEqual([]);
  expect(events.at(-1)).toBe("forgotten worker-1");
  expect(audit.lines.map(({ type, operation }) => `${type} ${operation}`)).toEqual([
    "intent node.evict",
    "result node.evict",
  ]);
});

test("what comes over a connection after the eviction does not bring the node back", async () => {
  const { registry, register, stored } = await aRegistry();
  const link = aLink();
  register(link);
  await registry.evict("worker-1", actor);
  registry.heartbeat(link, aNodeStatus());
  registry.stopping(link);
  await registry.refresh();
  expect(await stored()).toBeUndefined();
});

test.each([
  { name: "the audit log cannot be written", breaks: "audit", code: "AUDIT_UNWRITABLE" },
  { name: "the disk is full", breaks: "storage", code: "STORAGE_FULL" },
])("nothing is evicted when $name", async ({ breaks, code }) => {
  const { registry, register, audit, storage } = await aRegistry();
  const link = aLink();
  register(link);
  if (breaks === "audit") audit.broken = "intents";
  else storage.fault = new RksError("STORAGE_FULL", "the test filled the disk");
  await expect(registry.evict("worker-1", actor)).rejects.toMatchObject({ code });
  expect(link.closedWith).toEqual([]);
  expect(await registry.list()).toHaveLength(1);
});

test("what is not there is NOT_FOUND", async () => {
  const { registry } = await aRegistry();
  await expect(registry.evict("worker-2", actor)).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(registry.show("")).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("what still arrives over an evicted node's connection changes nothing", async () => {
  const { registry, register } = await aRegistry();
  const link = aLink();
  register(link);
  await registry.evict("worker-1", { actor: "test" });
  expect(() => registry.register(link, { version: "1", status: aNodeStatus() })).toThrow("has ended");
  registry.heartbeat(link, aNodeStatus());
  expect(registry.links.current("worker-1")).toBeUndefined();
});

test("a heartbeat over a connection that another one took over from says nothing", async () => {
  const { clock, registry, register } = await aRegistry();
  const before = { ...aLink(), close: () => undefined };
  register(before);
  register(aLink());
  clock.advance(1_000_000);
  registry.heartbeat(before, aNodeStatus());
  expect((await registry.show("worker-1")).status).toBe("Unknown");
});

test("connections with a replaced certificate, however many, do not push out the node's own", async () => {
  const { registry } = await aRegistry();
  const own = aLink();
  registry.links.add(own);
  registry.links.admit(own);
  for (let i = 0; i < 100; i++) registry.links.add(aLink());
  expect(own.closedWith).toEqual([]);
  const more = Array.from({ length: 3 }, () => aLink());
  for (const link of more) {
    registry.links.add(link);
    registry.links.admit(link);
  }
  expect(own.closedWith).toEqual(["CONFLICT"]);
});
