import { encodeMessage } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { createHostFacts } from "./host-facts.js";

const CONTEXT = { nodeName: "worker-1", localAddress: { host: "192.0.2.7", port: 1 } };
const INIT = { podCapacity: 110, runtimeVersion: "process://1", agentVersion: "1.2.3", diskPath: "." };

test("a host's facts fit into a heartbeat and begin with the address that was used", async () => {
  const facts = createHostFacts(INIT, { clock: new FakeClock() });
  const status = await facts.read(CONTEXT);
  expect(() => encodeMessage({ type: "Heartbeat", status })).not.toThrow();
  expect(status.addresses[0]).toEqual({ type: "InternalIP", address: "192.0.2.7" });
  expect(status.addresses.at(-1)).toEqual({ type: "Hostname", address: "worker-1" });
  expect(status.capacity).toMatchObject({ pods: "110" });
  expect(status.conditions.map(({ type }) => type)).toEqual([
    "MemoryPressure",
    "DiskPressure",
    "PIDPressure",
    "Ready",
  ]);
});

test("the time of a transition stays while a condition stays", async () => {
  const clock = new FakeClock();
  const facts = createHostFacts(INIT, { clock });
  const [before] = (await facts.read(CONTEXT)).conditions.slice(-1);
  clock.advance(60_000);
  const [after] = (await facts.read(CONTEXT)).conditions.slice(-1);
  expect(after!.lastTransitionTime).toBe(before!.lastTransitionTime);
  expect(after!.lastHeartbeatTime).not.toBe(before!.lastHeartbeatTime);
});

test("a disk that cannot be measured is unknown, not a failure", async () => {
  const facts = createHostFacts({ ...INIT, diskPath: "/no/such/folder" }, { clock: new FakeClock() });
  const { conditions } = await facts.read(CONTEXT);
  expect(conditions.find(({ type }) => type === "DiskPressure")).toMatchObject({ status: "Unknown" });
});

test("the machine's id is not given away", async () => {
  const { nodeInfo } = await createHostFacts(INIT, { clock: new FakeClock() }).read(CONTEXT);
  expect(nodeInfo!.machineID).toMatch(/^([0-9a-f]{32})?$/);
  expect(nodeInfo!.kubeletVersion).toBe("1.2.3");
});
