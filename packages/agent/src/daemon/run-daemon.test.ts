import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@rk8s/host";
import {
  parseJoinToken,
  podManifest,
  request,
  type Message,
  type MessageType,
  type RksMessage,
} from "@rk8s/protocol";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { AgentEvent } from "../agent-events.js";
import { openProcessRuntime } from "../runtime/process/process-runtime.js";
import { FakeRks, refusal, type FakeRksInit } from "../testing/fake-rks.js";
import { silentLogger } from "@rk8s/protocol";
import { agentStatus } from "./agent-status.js";
import { runDaemon } from "./run-daemon.js";
import { agentSocketOf, readDocument, socketPeer, STATUS_PATH } from "./socket-peer.js";

const owner = { program: "rkl", start: "rkl pod daemon" } as const;
const clock = systemClock;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rkl daemon "));
});
afterEach(async () => {
  const runtime = await openProcessRuntime({ folder: join(folder, "pods"), clock, logger: silentLogger });
  for (const { id } of await runtime.listSandboxes()) await runtime.removeSandbox(id);
  await runtime[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, maxRetries: 5 });
});

interface Daemon {
  readonly rks: FakeRks;
  readonly events: AgentEvent[];
  readonly finished: Promise<void>;
  stop(): Promise<void>;
  /** Resolves when an event of this name has come. */
  until(name: AgentEvent["event"]): Promise<void>;
  ask<T extends MessageType>(message: RksMessage, expected: T): Promise<Message<T>>;
}

async function start(init: Partial<FakeRksInit> = {}): Promise<Daemon> {
  const rks = await FakeRks.start({ clock, ...init });
  const events: AgentEvent[] = [];
  const end = new AbortController();
  const waiting = new Map<string, () => void>();
  const finished = runDaemon(
    {
      rksAddress: rks.address,
      joinToken: parseJoinToken(rks.joinToken),
      rootCertPath: undefined,
      nodeName: "worker-1",
      dataFolder: folder,
      containerPath: undefined,
      recovery: { choice: "none" },
    },
    {
      clock,
      transport: rks.transport,
      signal: end.signal,
      onEvent: (event) => {
        events.push(event);
        waiting.get(event.event)?.();
      },
    },
  );
  finished.catch(() => undefined);
  const peer = socketPeer(agentSocketOf(folder), owner);
  return {
    rks,
    events,
    finished,
    async stop() {
      end.abort();
      await finished;
      await rks[Symbol.asyncDispose]();
    },
    async until(name) {
      const seen = new Promise<void>((resolve) => waiting.set(name, resolve));
      if (!events.some(({ event }) => event === name)) await Promise.race([seen, finished]);
    },
    ask: async (message, expected) => (await request(peer, message, expected, { clock })).message,
  };
}

const manifest = podManifest.parse({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web" },
  spec: { containers: [{ name: "main", command: ["sleep", "600"] }] },
});
const web = { namespace: "default", name: "web" };

test("a daemon joins, serves this host's commands, and leaves its folder tidy when stopped", async () => {
  const daemon = await start();
  await daemon.until("registered");
  expect(agentStatus.parse(await readDocument(agentSocketOf(folder), STATUS_PATH, owner))).toMatchObject({
    node: "worker-1",
    state: "ready",
    pid: process.pid,
    pods: 0,
    dataFolder: folder,
  });
  expect((await stat(agentSocketOf(folder))).mode & 0o777).toBe(0o600);
  await daemon.until("recovery");
  await daemon.stop();
  expect(daemon.events.map(({ event }) => event)).toEqual([
    "joined",
    "connected",
    "registered",
    "recovery",
    "stopped",
  ]);
  expect(await readdir(folder)).toEqual(["pods"]);
  await expect(readDocument(agentSocketOf(folder), STATUS_PATH, owner)).rejects.toMatchObject({
    code: "UNREACHABLE",
  });
});

test("a second daemon on the same folder is refused and disturbs nothing", async () => {
  const daemon = await start();
  await daemon.until("registered");
  const second = await start();
  await expect(second.finished).rejects.toMatchObject({ code: "ALREADY_RUNNING" });
  await second.rks[Symbol.asyncDispose]();
  expect(await readDocument(agentSocketOf(folder), STATUS_PATH, owner)).toMatchObject({ state: "ready" });
  await daemon.stop();
});

test("what is refused for good ends the daemon and frees the folder", async () => {
  const answer: FakeRksInit["answer"] = ({ message }) =>
    message.type === "CertificateSign" ? refusal("JOIN_TOKEN_USED") : undefined;
  const daemon = await start({ answer });
  await expect(daemon.finished).rejects.toMatchObject({ code: "JOIN_TOKEN_USED" });
  expect(daemon.events).toEqual([]);
  expect(await readdir(folder)).toEqual(["pods"]);
  await daemon.rks[Symbol.asyncDispose]();
});

test("a pod made here runs, is not the control plane's, and outlives the daemon", async () => {
  const first = await start();
  await first.until("registered");
  const { pod } = await first.ask({ type: "ApplyPod", manifest }, "Pod");
  expect(pod.metadata.uid).toMatch(/^local-/);
  expect((await first.ask({ type: "ApplyPod", manifest }, "Pod")).pod.metadata.uid).toBe(pod.metadata.uid);
  const other = { ...manifest, spec: { ...manifest.spec, restartPolicy: "Never" as const } };
  await expect(first.ask({ type: "ApplyPod", manifest: other }, "Pod")).rejects.toMatchObject({
    code: "ALREADY_EXISTS",
  });
  await expect
    .poll(async () => (await first.ask({ type: "GetPod", ...web }, "Pod")).pod.status.phase)
    .toBe("Running");
  await first.stop();
  expect(first.rks.requests.map(({ type }) => type)).not.toContain("UpdatePodStatus");

  const second = await start();
  await second.until("registered");
  const registration = second.rks.requests.find(({ type }) => type === "RegisterNode");
  expect(registration).toMatchObject({ pods: [] });
  const { pods } = await second.ask({ type: "ListPods" }, "PodList");
  expect(pods).toMatchObject([
    { metadata: { name: "web", uid: pod.metadata.uid }, status: { phase: "Running" } },
  ]);
  await second.ask({ type: "DeletePod", ...web, gracePeriodSeconds: 0 }, "Ack");
  await expect.poll(async () => (await second.ask({ type: "ListPods" }, "PodList")).pods).toEqual([]);
  await expect(second.ask({ type: "GetPod", ...web }, "Pod")).rejects.toMatchObject({ code: "NOT_FOUND" });
  await second.stop();
});

test("what this host does not answer is refused, and nothing of the join is on disk", async () => {
  const daemon = await start();
  await daemon.until("registered");
  await expect(daemon.ask({ type: "ListNodes" }, "NodeList")).rejects.toMatchObject({
    code: "MESSAGE_UNEXPECTED",
  });
  await expect(readDocument(agentSocketOf(folder), "/v1/secrets", owner)).rejects.toMatchObject({
    code: "NOT_FOUND",
  });
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) =>
    entry.isFile(),
  );
  const contents = await Promise.all(
    files.map(async (file) => readFile(join(file.parentPath, file.name), "latin1")),
  );
  for (const content of contents) expect(content).not.toMatch(/rkj1\.|PRIVATE KEY|CERTIFICATE/);
  await daemon.stop();
});
