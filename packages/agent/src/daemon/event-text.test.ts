import { expect, test } from "vitest";
import type { AgentEventBody } from "../agent-events.js";
import { eventText } from "./event-text.js";

const time = "2026-01-01T00:00:00.000Z";

test.each<{ event: AgentEventBody; text: string }>([
  {
    event: { event: "joined", node: "n", serial: "01", notAfter: time },
    text: `joined as n, certificate 01 valid until ${time}`,
  },
  { event: { event: "connected", rksAddress: "h:1" }, text: "connected to h:1 by mutual TLS" },
  {
    event: {
      event: "registered",
      node: "n",
      serial: "01",
      notAfter: time,
      renewAt: time,
      clockSkewSeconds: 0,
    },
    text: "registered as n: the node is in service",
  },
  {
    event: { event: "renewed", node: "n", serial: "02", notAfter: time, renewAt: time, clockSkewSeconds: 0 },
    text: `renewed: certificate 02 valid until ${time}`,
  },
  {
    event: {
      event: "renewed",
      node: "n",
      serial: "02",
      notAfter: time,
      renewAt: time,
      clockSkewSeconds: 0,
      generation: 7,
    },
    text: `renewed: certificate 02, generation 7, valid until ${time}`,
  },
  {
    event: { event: "clock", pausedSeconds: 0, shiftedSeconds: -600 },
    text: "time did not pass as it should: the process stood still for 0 s, the clock moved by -600 s; renewing",
  },
  {
    event: { event: "clock", pausedSeconds: 60, shiftedSeconds: 0 },
    text: "the process stood still for 60 s; what came due meanwhile is done now",
  },
  {
    event: { event: "disconnected", code: "CONNECTION_LOST", message: "gone" },
    text: "disconnected: gone (CONNECTION_LOST)",
  },
  {
    event: { event: "reconnecting", attempt: 2, delaySeconds: 1.25, code: "UNREACHABLE", message: "nobody" },
    text: "trying again in 1.3 s (attempt 2): nobody (UNREACHABLE)",
  },
  {
    event: { event: "pod", namespace: "default", name: "web", uid: "u", phase: "Failed", reason: "Evicted" },
    text: "pod default/web is Failed (Evicted)",
  },
  { event: { event: "stopped" }, text: "stopped; pods go on running" },
])("$event.event reads: $text", ({ event, text }) => {
  expect(eventText({ time, ...event })).toBe(`${time} ${text}`);
});
