/* oxlint-disable vitest/expect-expect -- `reaches` expects */
import { pod as podSchema, silentLogger, type LogFields, type Pod } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test, vi } from "vitest";
import { memoryRuntime, type MemoryRuntime } from "../runtime/memory/memory-runtime.js";
import type { PodReport } from "./pod-host.js";
import { createPodManager, type PodManager } from "./pod-manager.js";

interface PodChange {
  readonly name?: string;
  readonly uid?: string;
  readonly restartPolicy?: "Always" | "OnFailure" | "Never";
  readonly commands?: Readonly<Record<string, readonly string[]>>;
  readonly image?: string;
}

function aPod({
  name = "web",
  uid = "u-1",
  restartPolicy = "Always",
  commands = { main: ["run"] },
  image,
}: PodChange = {}): Pod {
  return podSchema.parse({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, uid, creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: {
      restartPolicy,
      containers: Object.entries(commands).map(([container, command]) => ({
        name: container,
        command,
        image,
      })),
    },
    status: { phase: "Pending" },
  });
}

interface Setting {
  readonly clock: FakeClock;
  readonly runtime: MemoryRuntime;
  readonly manager: PodManager;
  readonly lines: [string, LogFields | undefined][];
  readonly reopen: () => Promise<PodManager>;
}

async function open(): Promise<Setting> {
  const clock = new FakeClock();
  const runtime = memoryRuntime({ clock });
  const lines: [string, LogFields | undefined][] = [];
  const logger = {
    ...silentLogger,
    info: (message: string, fields?: LogFields) => lines.push([message, fields]),
  };
  const reopen = async (): Promise<PodManager> =>
    createPodManager({ runtime, clock, logger, random: () => 0 });
  return { clock, runtime, manager: await reopen(), lines, reopen };
}

const web = { namespace: "default", name: "web" };
const anyUid = { uid: undefined, graceSeconds: undefined };

async function only(manager: PodManager): Promise<PodReport> {
  const reports = await manager.list();
  expect(reports).toHaveLength(1);
  return reports[0]!;
}

async function reaches(manager: PodManager, expected: object): Promise<void> {
  await vi.waitFor(async () => expect((await only(manager)).status).toMatchObject(expected), { interval: 1 });
}

test("an applied pod is pending, then runs", async () => {
  const { manager } = await open();
  await manager.apply(aPod());
  expect(manager.find(web)?.metadata.uid).toBe("u-1");
  await reaches(manager, {
    phase: "Running",
    containerStatuses: [{ name: "main", ready: true, restartCount: 0, state: { running: {} } }],
  });
});

test("the same pod again changes nothing", async () => {
  const { manager, runtime } = await open();
  await Promise.all([manager.apply(aPod()), manager.apply(aPod())]);
  await manager.apply(aPod());
  await reaches(manager, { phase: "Running" });
  expect(runtime.calls).toEqual(["start main/0"]);
});

test("a pod that ended well under OnFailure has succeeded", async () => {
  const { manager } = await open();
  await manager.apply(aPod({ restartPolicy: "OnFailure", commands: { main: ["exit", "0"] } }));
  await reaches(manager, {
    phase: "Succeeded",
    containerStatuses: [{ ready: false, state: { terminated: { exitCode: 0, reason: "Completed" } } }],
  });
});

test("a pod that ended badly under Never has failed", async () => {
  const { manager } = await open();
  await manager.apply(aPod({ restartPolicy: "Never", commands: { main: ["exit", "7"] } }));
  await reaches(manager, {
    phase: "Failed",
    containerStatuses: [{ restartCount: 0, state: { terminated: { exitCode: 7, reason: "Error" } } }],
  });
});

test("a crashing container comes back at once, then after 10 s, 20 s, … 300 s", async () => {
  const { clock, manager } = await open();
  await manager.apply(aPod({ commands: { main: ["exit", "1"] } }));
  const pauses: number[] = [];
  for (let i = 0; i < 7; i++) {
    const pause = await clock.nextSleep();
    await reaches(manager, {
      phase: "Running",
      containerStatuses: [
        {
          restartCount: i + 1,
          state: { waiting: { reason: "CrashLoopBackOff" } },
          lastState: { terminated: { exitCode: 1 } },
        },
      ],
    });
    pauses.push(pause / 1000);
    clock.advance(pause);
  }
  expect(pauses).toEqual([10, 20, 40, 80, 160, 300, 300]);
  await manager[Symbol.asyncDispose]();
  expect(clock.pendingSleeps).toBe(0);
});

test("after ten minutes of running a crash counts as the first", async () => {
  const { clock, manager, runtime } = await open();
  await manager.apply(aPod());
  for (const restartCount of [1, 2, 3]) {
    await reaches(manager, {
      containerStatuses: [{ restartCount: restartCount - 1, state: { running: {} } }],
    });
    clock.advance(600_000);
    runtime.exit("main", 1);
    await reaches(manager, { containerStatuses: [{ restartCount, state: { running: {} } }] });
  }
  expect(clock.pendingSleeps).toBe(0);
});

test("one attempt before the current one is kept, older ones are removed", async () => {
  const { clock, manager, runtime } = await open();
  await manager.apply(aPod({ commands: { main: ["exit", "1"] } }));
  for (let i = 0; i < 3; i++) clock.advance(await clock.nextSleep());
  await vi.waitFor(async () => {
    expect((await runtime.listContainers()).map(({ attempt }) => attempt)).toEqual([3, 4]);
  });
});

test("a command that cannot be started is a failed attempt", async () => {
  const { manager } = await open();
  await manager.apply(aPod({ restartPolicy: "Never", commands: { main: ["missing"] } }));
  await reaches(manager, {
    phase: "Failed",
    containerStatuses: [
      { state: { terminated: { exitCode: 128, reason: "StartError", message: "no such command" } } },
    ],
  });
});

test("a container without a command is refused by name, and nothing is made", async () => {
  const { manager, runtime } = await open();
  const refused = manager.apply(aPod({ commands: { main: ["run"], side: [] } }));
  await expect(refused).rejects.toMatchObject({
    code: "POD_INVALID",
    message: 'container "side" of pod "web" has no command',
  });
  expect(await runtime.listSandboxes()).toEqual([]);
  expect(await manager.list()).toEqual([]);
});

test("an image is noted as ignored", async () => {
  const { manager, lines } = await open();
  await manager.apply(aPod({ image: "nginx:1" }));
  expect(lines).toContainEqual([
    "Image ignored",
    { namespace: "default", pod: "web", container: "main", image: "nginx:1" },
  ]);
});

test("a sandbox that cannot be made fails the pod with a retryable error, and the next try works", async () => {
  const { manager, runtime } = await open();
  runtime.failSandboxes(1);
  await expect(manager.apply(aPod())).rejects.toMatchObject({ code: "RUNTIME_FAILED", retryable: true });
  expect(await manager.list()).toEqual([]);
  await manager.apply(aPod());
  await reaches(manager, { phase: "Running" });
});

test("a removed pod is stopped with its grace and gone", async () => {
  const { manager, runtime } = await open();
  await manager.apply(aPod());
  await reaches(manager, { phase: "Running" });
  await manager.remove(web, { uid: "u-1", graceSeconds: 5 });
  expect(runtime.calls).toEqual(["start main/0", "stop main/0 5"]);
  expect(await manager.list()).toEqual([]);
  expect(await runtime.listSandboxes()).toEqual([]);
});

test("without a grace of its own a removal takes the pod's", async () => {
  const { manager, runtime } = await open();
  await manager.apply(aPod());
  await reaches(manager, { phase: "Running" });
  await Promise.all([manager.remove(web, anyUid), manager.remove(web, anyUid)]);
  expect(runtime.calls[1]).toBe("stop main/0 30");
  expect(await manager.list()).toEqual([]);
});

test("a second removal without grace kills at once", async () => {
  const { clock, manager, runtime } = await open();
  await manager.apply(aPod({ commands: { main: ["deaf"] } }));
  await reaches(manager, { phase: "Running" });
  const polite = manager.remove(web, { uid: undefined, graceSeconds: 600 });
  await clock.nextSleep();
  await manager.remove(web, { uid: undefined, graceSeconds: 0 });
  await polite;
  expect(runtime.calls.slice(-2)).toEqual(["stop main/0 0", "kill main/0"]);
  expect(clock.pendingSleeps).toBe(0);
});

test.each([
  { name: "a pod that is not here", key: { namespace: "default", name: "other" }, uid: undefined },
  { name: "another uid", key: web, uid: "u-2" },
  { name: "another namespace", key: { namespace: "else", name: "web" }, uid: undefined },
])("removing $name changes nothing", async ({ key, uid }) => {
  const { manager } = await open();
  await manager.apply(aPod());
  await manager.remove(key, { uid, graceSeconds: 0 });
  await reaches(manager, { phase: "Running" });
});

test("a pod can be removed while it waits in the back-off", async () => {
  const { clock, manager, runtime } = await open();
  await manager.apply(aPod({ commands: { main: ["exit", "1"] } }));
  await clock.nextSleep();
  await manager.remove(web, anyUid);
  expect(clock.pendingSleeps).toBe(0);
  expect(await runtime.listContainers()).toEqual([]);
});

test("another uid under the same name replaces the pod once the old one is gone", async () => {
  const { clock, manager, runtime } = await open();
  await manager.apply(aPod({ commands: { old: ["deaf"] } }));
  await reaches(manager, { phase: "Running" });
  await manager.apply(aPod({ uid: "u-2", commands: { new: ["run"] } }));
  expect(await only(manager)).toMatchObject({ uid: "u-2", status: { phase: "Pending" } });
  const grace = await clock.nextSleep();
  expect(runtime.calls).toEqual(["start old/0", "stop old/0 30"]);
  clock.advance(grace);
  await reaches(manager, { phase: "Running" });
  expect(runtime.calls).toEqual(["start old/0", "stop old/0 30", "kill old/0", "start new/0"]);
  expect(await runtime.listSandboxes()).toHaveLength(1);
});

test("after a restart of the agent its pods are found and go on", async () => {
  const { clock, manager, runtime, reopen } = await open();
  await manager.apply(aPod({ commands: { main: ["run"], done: ["exit", "0"] }, restartPolicy: "OnFailure" }));
  await vi.waitFor(() => expect(runtime.calls).toHaveLength(2));
  await manager[Symbol.asyncDispose]();
  clock.advance(60_000);
  const again = await reopen();
  expect(again.find(web)?.spec.containers).toHaveLength(2);
  await reaches(again, {
    phase: "Running",
    containerStatuses: [{ state: { running: {} } }, { state: { terminated: {} } }],
  });
  runtime.exit("main", 3);
  await reaches(again, { containerStatuses: [{ restartCount: 1, state: { running: {} } }, {}] });
  expect(runtime.calls).toEqual(["start main/0", "start done/0", "start main/1"]);
});

test("a container that crashed while no agent was there waits out the rest of its back-off", async () => {
  const { clock, manager, runtime, reopen } = await open();
  await manager.apply(aPod());
  await reaches(manager, { phase: "Running" });
  for (const restartCount of [1, 2]) {
    runtime.exit("main", 1);
    if (restartCount === 2) clock.advance(await clock.nextSleep());
    await reaches(manager, { containerStatuses: [{ restartCount, state: { running: {} } }] });
  }
  await manager[Symbol.asyncDispose]();
  runtime.exit("main", 1);
  clock.advance(15_000);
  const again = await reopen();
  expect(await clock.nextSleep()).toBe(5000);
  await reaches(again, { containerStatuses: [{ state: { waiting: { reason: "CrashLoopBackOff" } } }] });
  await again[Symbol.asyncDispose]();
});

test("of two pods with one name the newer is kept after a restart", async () => {
  const { clock, runtime, reopen } = await open();
  for (const uid of ["u-1", "u-2"]) {
    const manifest = JSON.stringify(aPod({ uid }));
    await runtime.runSandbox({ namespace: "default", name: "web", uid, attempt: 0, manifest });
    clock.advance(1000);
  }
  const manager = await reopen();
  expect((await only(manager)).uid).toBe("u-2");
  await vi.waitFor(async () => expect(await runtime.listSandboxes()).toHaveLength(1));
});

test.each([
  { name: "has no manifest that can be read", manifest: "{}", stopped: false },
  { name: "was being removed", manifest: JSON.stringify(aPod()), stopped: true },
])("a sandbox that $name is removed when the agent starts", async ({ manifest, stopped }) => {
  const { runtime, reopen } = await open();
  const id = await runtime.runSandbox({
    namespace: "default",
    name: "web",
    uid: "u-1",
    attempt: 0,
    manifest,
  });
  if (stopped) await runtime.stopSandbox(id);
  expect(await (await reopen()).list()).toEqual([]);
  await vi.waitFor(async () => expect(await runtime.listSandboxes()).toEqual([]));
});

test("a slow reader gets the newest status of each pod, once", async () => {
  const { manager, runtime } = await open();
  await manager.apply(aPod({ name: "one", uid: "u-1", restartPolicy: "Never" }));
  await reaches(manager, { phase: "Running" });
  runtime.exit("main", 0);
  await reaches(manager, { phase: "Succeeded" });
  await manager.apply(aPod({ name: "two", uid: "u-2" }));
  await vi.waitFor(() => expect(runtime.calls).toHaveLength(2));
  const reader = new AbortController();
  const seen: string[] = [];
  for await (const { name, status } of manager.statusChanges({ signal: reader.signal })) {
    seen.push(`${name} ${status.phase}`);
    if (seen.length === 2) reader.abort();
  }
  expect(seen).toEqual(["one Succeeded", "two Running"]);
});

test("status changes have one reader at a time", async () => {
  const { manager } = await open();
  const reader = new AbortController();
  const read = async (): Promise<IteratorResult<PodReport>> =>
    manager.statusChanges({ signal: reader.signal })[Symbol.asyncIterator]().next();
  const reading = read();
  await expect(read()).rejects.toThrow(TypeError);
  reader.abort();
  expect((await reading).done).toBe(true);
});

const logOptions = { container: undefined, follow: false, tailLines: undefined };

async function text(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  let whole = "";
  for await (const chunk of chunks) whole += Buffer.from(chunk).toString();
  return whole;
}

test("logs are those of the first container, or of the one that is named", async () => {
  const { manager } = await open();
  const { signal } = new AbortController();
  const commands = { one: ["print", "1"], two: ["print", "2"] };
  await manager.apply(aPod({ restartPolicy: "Never", commands }));
  await reaches(manager, { phase: "Succeeded" });
  const first = await manager.readLogs(web, { ...logOptions, signal });
  expect([first.container, await text(first.chunks)]).toEqual(["one", "1"]);
  const second = await manager.readLogs(web, { ...logOptions, container: "two", signal });
  expect([second.container, await text(second.chunks)]).toEqual(["two", "2"]);
});

test.each([
  {
    name: "an unknown pod",
    key: { namespace: "default", name: "no" },
    container: undefined,
    message: 'pod "no"',
  },
  { name: "an unknown container", key: web, container: "no", message: 'no container "no"' },
])("logs of $name are not found", async ({ key, container, message }) => {
  const { manager } = await open();
  await manager.apply(aPod());
  const { signal } = new AbortController();
  await expect(manager.readLogs(key, { ...logOptions, container, signal })).rejects.toMatchObject({
    code: "NOT_FOUND",
    message: expect.stringContaining(message) as string,
  });
});

test("a follower goes on through restarts and ends with the pod", async () => {
  const { manager, runtime } = await open();
  const { signal } = new AbortController();
  await manager.apply(aPod({ restartPolicy: "OnFailure" }));
  const logs = await manager.readLogs(web, { ...logOptions, follow: true, signal });
  const followed = text(logs.chunks);
  await reaches(manager, { phase: "Running" });
  runtime.write("main", "first\n");
  runtime.exit("main", 1);
  await reaches(manager, { containerStatuses: [{ restartCount: 1, state: { running: {} } }] });
  runtime.write("main", "second\n");
  runtime.exit("main", 0);
  expect(await followed).toBe("first\nsecond\n");
});

test("a follower ends when the pod is removed", async () => {
  const { manager } = await open();
  const { signal } = new AbortController();
  await manager.apply(aPod());
  await reaches(manager, { phase: "Running" });
  const logs = await manager.readLogs(web, { ...logOptions, follow: true, signal });
  const followed = text(logs.chunks);
  await manager.remove(web, anyUid);
  expect(await followed).toBe("");
});

test("disposing leaves the pods running", async () => {
  const { clock, manager, runtime } = await open();
  await manager.apply(aPod());
  await reaches(manager, { phase: "Running" });
  await manager[Symbol.asyncDispose]();
  await manager[Symbol.asyncDispose]();
  expect((await runtime.listContainers()).map(({ state }) => state)).toEqual(["running"]);
  expect(clock.pendingSleeps).toBe(0);
});
