import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { RksError, type JoinToken } from "@rk8s/protocol";
import type { AgentEvent } from "../agent-events.js";
import { createAgent } from "../agent.js";
import { createPodManager } from "../pods/pod-manager.js";
import { completePorts, type PortOptions } from "../ports.js";
import { openProcessRuntime } from "../runtime/process/process-runtime.js";
import { createHostFacts } from "../session/host-facts.js";
import { SURVIVES_NOTHING, type SupervisorLink } from "../supervisor/link.js";
import { AGENT_VERSION } from "../version.js";
import { afterEvent, type AgentStatus } from "./agent-status.js";
import { clusterPods } from "./cluster-pods.js";
import { chooseMethods, type RecoveryInit } from "./recovery-methods.js";
import { nodeFileOf, openNodeFile } from "../recovery/node-file.js";
import { readMachineId } from "../recovery/machine-id.js";
import { lockFolder } from "./folder-lock.js";
import { createLocalHandlers } from "./local-handlers.js";
import { serveLocally } from "./local-server.js";
import { agentSocketOf } from "./socket-peer.js";

/** Pods that a node takes, Kubernetes' own default. */
const POD_CAPACITY = 110;

export interface DaemonInit {
  /** `host:port` of the control plane. */
  readonly rksAddress: string;
  /** Not needed when the supervisor's stash holds an identity, or a token. */
  readonly joinToken: JoinToken | undefined;
  readonly rootCertPath: string | undefined;
  readonly nodeName: string | undefined;
  /** Absolute. Made when missing, mode 0700; no key, certificate or token is ever written to it. */
  readonly dataFolder: string;
  /** PATH of containers that set none; undefined for the usual system folders. */
  readonly containerPath: string | undefined;
  /** What brings the node back when its key was lost with every process that had it. */
  readonly recovery: RecoveryInit;
  /** Who starts this process again when it dies, if anybody does. */
  readonly supervisor?: SupervisorLink | undefined;
}

export interface DaemonOptions extends PortOptions {
  /** Ends the daemon: the control plane is told, pods go on running. */
  readonly signal: AbortSignal;
  /** Each event but `error`, which is thrown. */
  readonly onEvent: (event: AgentEvent) => void;
}

/**
 * Be this host's agent until stopped: lock the data folder, take over the pods that run here, join the cluster, serve
 * this host's commands. Resolves when stopped.
 * @throws {RksError} ALREADY_RUNNING, STORAGE_UNWRITABLE, RUNTIME_FAILED, and what the agent was refused with.
 */
export async function runDaemon(init: DaemonInit, options: DaemonOptions): Promise<void> {
  await makeFolder(init.dataFolder);
  await using _ = await lockFolder(init.dataFolder, { supervisorPid: init.supervisor?.pid });
  await runLocked(init, options);
}

async function runLocked(init: DaemonInit, options: DaemonOptions): Promise<void> {
  const { dataFolder } = init;
  const ports = await completePorts(options);
  const folder = join(dataFolder, "pods");
  await using runtime = await openProcessRuntime({ ...ports, folder, path: init.containerPath });
  await using manager = await createPodManager({ ...ports, runtime });
  const runtimeVersion = `process://${AGENT_VERSION}`;
  const factsInit = {
    podCapacity: POD_CAPACITY,
    runtimeVersion,
    agentVersion: AGENT_VERSION,
    diskPath: dataFolder,
  };
  let status: AgentStatus = {
    node: init.nodeName ?? null,
    state: "joining",
    rksAddress: init.rksAddress,
    serial: null,
    notAfter: null,
    generation: null,
    renewAt: null,
    clockSkewSeconds: null,
    lastError: null,
    runtime: runtimeVersion,
    pods: 0,
    pid: init.supervisor?.pid ?? process.pid,
    workerPid: process.pid,
    survives: init.supervisor?.survives ?? SURVIVES_NOTHING,
    version: AGENT_VERSION,
    startedAt: new Date(ports.clock.now()).toISOString(),
    dataFolder,
  };
  await using _ = await serveLocally(
    {
      path: agentSocketOf(dataFolder),
      handlers: createLocalHandlers(manager, ports),
      status: async () => ({ ...status, pods: (await manager.list()).length }),
    },
    ports,
  );
  const recovery = {
    memory: openNodeFile(nodeFileOf(dataFolder)),
    methods: await chooseMethods(init.recovery),
    machineIdSha256: await readMachineId(),
  };
  await using agent = await createAgent({
    ...ports,
    rksAddress: init.rksAddress,
    joinToken: init.joinToken,
    stash: init.supervisor?.stash,
    recovery,
    survives: init.supervisor?.survives ?? SURVIVES_NOTHING,
    rootCertPath: init.rootCertPath,
    nodeName: init.nodeName,
    pods: clusterPods(manager),
    facts: createHostFacts(factsInit, ports),
    signal: options.signal,
  });
  for await (const event of agent.events()) {
    status = afterEvent(status, event);
    if (event.event !== "error") options.onEvent(event);
  }
  await agent.finished;
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new RksError(
      "STORAGE_UNWRITABLE",
      `data folder "${folder}" cannot be made: ${(cause as Error).message}`,
      {
        cause,
        suggestion: "Give --data-dir a folder that this user may write to.",
      },
    );
  }
}
