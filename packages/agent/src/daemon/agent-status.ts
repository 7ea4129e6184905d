import { z } from "zod";
import type { AgentEvent } from "../agent-events.js";

/** What `GET /v1/status` answers and `rkl status --json` prints. */
export const agentStatus = z.object({
  node: z.string().nullable(),
  state: z.enum(["joining", "connecting", "ready", "waiting", "stopped", "expired"]),
  rksAddress: z.string(),
  serial: z.string().nullable(),
  notAfter: z.string().nullable(),
  /** Which of the node's certificates this is, from 0; null before the registration. */
  generation: z.number().nullable(),
  /** When the certificate will be renewed. */
  renewAt: z.string().nullable(),
  /** By how much this host's clock was ahead of the control plane's at the last registration or renewal. */
  clockSkewSeconds: z.number().nullable(),
  /** Why the agent is not connected, or was not last time. */
  lastError: z.object({ code: z.string(), message: z.string(), time: z.string() }).nullable(),
  runtime: z.string(),
  pods: z.number(),
  /** Of the process that was started, and that signals are for. */
  pid: z.number(),
  /** Of the agent itself, which is started again when it dies. */
  workerPid: z.number().optional(),
  /** What keeps the node's identity alive through what; "no" where nothing does. */
  survives: z.object({ crash: z.string(), upgrade: z.string(), reboot: z.string().optional() }).optional(),
  version: z.string(),
  startedAt: z.string(),
  dataFolder: z.string(),
});
export type AgentStatus = z.output<typeof agentStatus>;

/** The status after an event. */
export function afterEvent(status: AgentStatus, event: AgentEvent): AgentStatus {
  if (event.event === "renewed") {
    const { serial, notAfter, renewAt, clockSkewSeconds, generation = null } = event;
    return { ...status, serial, notAfter, renewAt, clockSkewSeconds, generation };
  }
  if (event.event === "recovery") {
    const { crash = "no", upgrade = "no" } = status.survives ?? {};
    return { ...status, survives: { crash, upgrade, reboot: event.by } };
  }
  if (
    event.event === "joined" ||
    event.event === "resumed" ||
    event.event === "recovered" ||
    event.event === "registered"
  ) {
    const { node, serial, notAfter } = event;
    return {
      ...status,
      state: event.event === "registered" ? "ready" : "connecting",
      node,
      serial,
      notAfter,
      renewAt: event.event === "registered" ? event.renewAt : null,
      generation: event.event === "registered" ? (event.generation ?? null) : null,
      clockSkewSeconds: event.event === "registered" ? event.clockSkewSeconds : status.clockSkewSeconds,
    };
  }
  if (event.event === "disconnected" || event.event === "reconnecting" || event.event === "error") {
    const { code, message, time } = event;
    const ended = code === "CERTIFICATE_EXPIRED" ? "expired" : "stopped";
    return {
      ...status,
      state: event.event === "error" ? ended : "waiting",
      lastError: { code, message, time },
    };
  }
  return event.event === "stopped" ? { ...status, state: "stopped" } : status;
}
