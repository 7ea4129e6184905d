import { createHash } from "node:crypto";
import { readFile, statfs } from "node:fs/promises";
import { arch, availableParallelism, networkInterfaces, platform, release, totalmem } from "node:os";
import type { Clock, NodeCondition, NodeStatus } from "@rk8s/protocol";
import type { NodeFacts, NodeFactsContext } from "./node-facts.js";

export interface HostFactsInit {
  /** Pods that this node takes; 0 for an agent without a runtime. */
  readonly podCapacity: number;
  /** For example `process://0.1.0`; empty without a runtime. */
  readonly runtimeVersion: string;
  readonly agentVersion: string;
  /** A folder on the disk whose free space counts. */
  readonly diskPath: string;
}

/** Kubernetes' default eviction thresholds: memory.available<100Mi, nodefs.available<10%, pid.available<10%. */
const MIN_AVAILABLE_MEMORY_BYTES = 100 * 1024 * 1024;
const MIN_AVAILABLE_SHARE = 0.1;
const MAX_ADDRESSES = 16;
const UNSPECIFIED: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

/**
 * Read this host's facts: what it has, where it is, how it feels. What cannot be read (no `/proc`, say) is left out or
 * `Unknown`; reading never fails.
 */
export function createHostFacts(init: HostFactsInit, ports: { readonly clock: Clock }): NodeFacts {
  const transitions = new Map<string, { readonly status: string; readonly at: string }>();
  let nodeInfo: Promise<NonNullable<NodeStatus["nodeInfo"]>> | undefined;

  return {
    async read(context) {
      nodeInfo ??= readNodeInfo(init);
      const capacity = {
        cpu: String(availableParallelism()),
        memory: `${Math.floor(totalmem() / 1024)}Ki`,
        pods: String(init.podCapacity),
      };
      return {
        capacity,
        allocatable: capacity,
        addresses: readAddresses(context),
        conditions: (await readConditions(init)).map((condition) => stamp(condition)),
        nodeInfo: await nodeInfo,
      };
    },
  };

  /** Add the times: when it was seen, and since when it is so. */
  function stamp(condition: NodeCondition): NodeCondition {
    const now = new Date(ports.clock.now()).toISOString();
    const before = transitions.get(condition.type);
    const at = before?.status === condition.status ? before.at : now;
    transitions.set(condition.type, { status: condition.status, at });
    return { ...condition, lastHeartbeatTime: now, lastTransitionTime: at };
  }
}

async function readConditions(init: HostFactsInit): Promise<NodeCondition[]> {
  const [memory, disk, pids] = await Promise.all([
    orUndefined(memoryIsShort()),
    orUndefined(diskIsShort(init.diskPath)),
    orUndefined(pidsAreShort()),
  ]);
  return [
    pressure("MemoryPressure", memory, "KubeletHasSufficientMemory", "KubeletHasInsufficientMemory"),
    pressure("DiskPressure", disk, "KubeletHasNoDiskPressure", "KubeletHasDiskPressure"),
    pressure("PIDPressure", pids, "KubeletHasSufficientPID", "KubeletHasInsufficientPID"),
    { type: "Ready", status: "True", reason: "KubeletReady", message: "the agent is running" },
  ];
}

function pressure(type: string, short: boolean | undefined, good: string, bad: string): NodeCondition {
  if (short === undefined) return { type, status: "Unknown", reason: "NotMeasured" };
  return short ? { type, status: "True", reason: bad } : { type, status: "False", reason: good };
}

async function memoryIsShort(): Promise<boolean> {
  const match = /^MemAvailable:\s+(\d+) kB$/m.exec(await readFile("/proc/meminfo", "utf8"));
  if (match === null) throw new TypeError("no MemAvailable");
  return Number(match[1]) * 1024 < MIN_AVAILABLE_MEMORY_BYTES;
}

async function diskIsShort(path: string): Promise<boolean> {
  const { bavail, blocks } = await statfs(path);
  return bavail < blocks * MIN_AVAILABLE_SHARE;
}

async function pidsAreShort(): Promise<boolean> {
  const [load, max] = await Promise.all([
    readFile("/proc/loadavg", "utf8"),
    readFile("/proc/sys/kernel/pid_max", "utf8"),
  ]);
  // proc_loadavg(5): "0.20 0.18 0.12 1/80 11206", the fourth field is runnable/existing tasks.
  const tasks = Number(load.split(" ")[3]?.split("/")[1]);
  return tasks > Number(max) * (1 - MIN_AVAILABLE_SHARE);
}

/** The address that reaches the control plane first, then every other that is not of this host alone. */
function readAddresses(context: NodeFactsContext): NodeStatus["addresses"] {
  const { host } = context.localAddress;
  const others = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith("fe80:"))
    .map(({ address }) => address);
  const internal = new Set([...(UNSPECIFIED.has(host) ? [] : [host]), ...others]);
  return [
    ...[...internal].slice(0, MAX_ADDRESSES).map((address) => ({ type: "InternalIP", address })),
    { type: "Hostname", address: context.nodeName },
  ];
}

async function readNodeInfo(init: HostFactsInit): Promise<NonNullable<NodeStatus["nodeInfo"]>> {
  const [machineId, bootId, osRelease] = await Promise.all([
    orUndefined(readFile("/etc/machine-id", "utf8")),
    orUndefined(readFile("/proc/sys/kernel/random/boot_id", "utf8")),
    orUndefined(readFile("/etc/os-release", "utf8")),
  ]);
  return {
    operatingSystem: platform(),
    architecture: arch() === "x64" ? "amd64" : arch(),
    kernelVersion: release().slice(0, 128),
    osImage: (/^PRETTY_NAME="?([^"\n]*)"?$/m.exec(osRelease ?? "")?.[1] ?? platform()).slice(0, 256),
    machineID: machineId === undefined ? "" : hashMachineId(machineId.trim()),
    bootID: (bootId ?? "").trim().slice(0, 64),
    kubeletVersion: init.agentVersion,
    containerRuntimeVersion: init.runtimeVersion,
  };
}

/** machine-id(5) asks not to expose the id itself: a hash of it that only this application makes. */
function hashMachineId(id: string): string {
  return createHash("sha256").update("rk8s/machine-id/1\0").update(id).digest("hex").slice(0, 32);
}

async function orUndefined<T>(value: Promise<T>): Promise<T | undefined> {
  try {
    return await value;
  } catch {
    return undefined;
  }
}
