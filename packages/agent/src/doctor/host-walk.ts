import { access, constants, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { type Finding, Walk } from "@rk8s/host/diagnosis";
import { RksError } from "@rk8s/protocol";
import { agentStatus, type AgentStatus } from "../daemon/agent-status.js";
import { agentSocketOf, readDocument, STATUS_PATH } from "../daemon/socket-peer.js";
import { findStarter } from "../runtime/process/wrapper.js";

/** Pods and their logs need room; below this something is about to fail. */
const LITTLE_SPACE_BYTES = 256 * 1024 * 1024;

/**
 * Look at this host: where pods are kept, what runs them, and the agent that runs here, which alone can tell of the
 * connection by mutual TLS and of the registration.
 */
export async function* walkHost(init: {
  readonly dataFolder: string;
  readonly nowMs: number;
}): AsyncGenerator<Finding, void, void> {
  const folder = new Walk();
  await folder.check("data folder", () => lookAtFolder(init.dataFolder));
  await folder.check("runtime", async () => {
    await findStarter();
    return { detail: "pods can be started as processes of this host", value: undefined };
  });
  yield* folder.take();

  const agent = new Walk();
  const status = await statusOf(init.dataFolder);
  if (status === undefined) {
    for (const check of ["agent", "mutual tls", "register"])
      agent.skip(check, "no agent runs on this data folder");
  } else {
    await agent.check("agent", () => ({
      detail: `version ${status.version}, pid ${status.pid}, node "${status.node ?? "-"}"`,
      value: undefined,
    }));
    await agent.check("mutual tls", () => lookAtCertificate(status, init.nowMs));
    await agent.check("register", () => lookAtSession(status));
  }
  yield* agent.take();
}

async function lookAtFolder(path: string) {
  const there = await existing(path);
  try {
    await access(there, constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw new RksError("STORAGE_UNWRITABLE", `this user may not write to "${there}"`, {
      cause,
      suggestion: "Run the agent as another user, or give --data-dir a folder that this user may write to.",
    });
  }
  const { bavail, bsize } = await statfs(there);
  const free = bavail * bsize;
  const detail = `"${path}", ${Math.round(free / 1024 / 1024)} MiB free`;
  if (free >= LITTLE_SPACE_BYTES) return { detail, value: undefined };
  return { status: "warn" as const, detail, remedy: "Free disk space: pods keep their logs there." };
}

/** The folder, or the nearest one above it that exists. */
async function existing(path: string): Promise<string> {
  try {
    await access(path);
    return path;
  } catch {
    return path === dirname(path) ? path : existing(dirname(path));
  }
}

/** Undefined when none answers. */
async function statusOf(dataFolder: string): Promise<AgentStatus | undefined> {
  const owner = { program: "rkl", start: "rkl pod daemon" } as const;
  try {
    const parsed = agentStatus.safeParse(await readDocument(agentSocketOf(dataFolder), STATUS_PATH, owner));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

function lookAtCertificate({ serial, notAfter, node }: AgentStatus, nowMs: number) {
  if (serial === null || notAfter === null) {
    throw new RksError("UNAVAILABLE", "the agent has no certificate yet", {
      suggestion: "Look at its log, and at the checks above.",
    });
  }
  const left = Date.parse(notAfter) - nowMs;
  if (left <= 0) {
    throw new RksError("CERTIFICATE_EXPIRED", `certificate "${serial}" expired at ${notAfter}`, {
      suggestion: `Run \`rks node rejoin ${node ?? "NAME"}\` on the control plane.`,
    });
  }
  return {
    detail: `certificate "${serial}" is valid for ${Math.round(left / 1000)} s more`,
    value: undefined,
  };
}

function lookAtSession({ state, lastError, rksAddress }: AgentStatus) {
  if (state === "ready") return { detail: `registered with rks at ${rksAddress}`, value: undefined };
  const why = lastError === null ? "" : `; last error ${lastError.code}: ${lastError.message}`;
  throw new RksError("UNAVAILABLE", `the agent is ${state}, not registered${why}`, {
    suggestion: "Mend what the checks above name; the agent goes on trying by itself.",
  });
}
