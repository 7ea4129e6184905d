import type { ContainerState, ContainerStatus } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { podPhase } from "./pod-phase.js";

const creating: ContainerState = { waiting: { reason: "ContainerCreating" } };
const backOff: ContainerState = { waiting: { reason: "CrashLoopBackOff" } };
const running: ContainerState = { running: { startedAt: "2026-01-01T00:00:00.000Z" } };
const ended = (exitCode: number): ContainerState => ({ terminated: { exitCode, reason: "Error" } });

function status(state: ContainerState, lastState?: ContainerState): ContainerStatus {
  return { name: "main", ready: false, restartCount: 0, state, ...(lastState && { lastState }) };
}

test.each([
  { name: "nothing has begun", policy: "Always", states: [status(creating)], phase: "Pending" },
  {
    name: "one of two has begun",
    policy: "Always",
    states: [status(running), status(creating)],
    phase: "Pending",
  },
  { name: "all run", policy: "Never", states: [status(running), status(running)], phase: "Running" },
  {
    name: "one runs, one has failed",
    policy: "Never",
    states: [status(running), status(ended(1))],
    phase: "Running",
  },
  {
    name: "all ended well",
    policy: "Never",
    states: [status(ended(0)), status(ended(0))],
    phase: "Succeeded",
  },
  { name: "one ended badly", policy: "Never", states: [status(ended(0)), status(ended(1))], phase: "Failed" },
  { name: "ended well", policy: "OnFailure", states: [status(ended(0))], phase: "Succeeded" },
  { name: "ended badly and comes again", policy: "OnFailure", states: [status(ended(1))], phase: "Running" },
  { name: "ended well and comes again", policy: "Always", states: [status(ended(0))], phase: "Running" },
  { name: "in the crash back-off", policy: "Always", states: [status(backOff, ended(1))], phase: "Running" },
] as const)("$policy, $name: $phase", ({ policy, states, phase }) => {
  expect(podPhase(states, policy)).toBe(phase);
});
