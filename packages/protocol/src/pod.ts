import { z } from "zod";
import { label, list, stringMap, text, timestamp } from "./schema.js";

const environmentVariable = z.object({
  name: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,255}$/, "expected an environment variable's name"),
  value: z.string().max(131_072).default(""),
});

export const container = z.object({
  name: label,
  image: z.string().max(512).optional(),
  command: list(z.string().max(131_072), 1024).optional(),
  args: list(z.string().max(131_072), 1024).optional(),
  workingDir: z.string().max(4096).optional(),
  env: list(environmentVariable, 1024).optional(),
});
export type Container = z.infer<typeof container>;

export const podSpec = z.object({
  nodeName: label.optional(),
  containers: list(container, 32, 1),
  restartPolicy: z.enum(["Always", "OnFailure", "Never"]).default("Always"),
  terminationGracePeriodSeconds: z.number().int().min(0).max(3600).default(30),
});
export type PodSpec = z.infer<typeof podSpec>;

const containerState = z.object({
  waiting: z.object({ reason: text(128), message: z.string().max(1024).optional() }).optional(),
  running: z.object({ startedAt: timestamp }).optional(),
  terminated: z
    .object({
      exitCode: z.number().int(),
      signal: z.number().int().optional(),
      reason: text(128),
      message: z.string().max(1024).optional(),
      startedAt: timestamp.optional(),
      finishedAt: timestamp.optional(),
    })
    .optional(),
});
export type ContainerState = z.infer<typeof containerState>;

const containerStatus = z.object({
  name: label,
  ready: z.boolean(),
  restartCount: z.number().int().min(0),
  state: containerState,
  lastState: containerState.optional(),
});
export type ContainerStatus = z.infer<typeof containerStatus>;

/** Where a pod is in its life, in Kubernetes' words (core/v1 PodStatus). */
export const podStatus = z.object({
  phase: z.enum(["Pending", "Running", "Succeeded", "Failed", "Unknown"]),
  reason: z.string().max(128).optional(),
  message: z.string().max(1024).optional(),
  hostIP: z.string().max(64).optional(),
  podIP: z.string().max(64).optional(),
  startTime: timestamp.optional(),
  containerStatuses: list(containerStatus, 32).default([]),
});
export type PodStatus = z.infer<typeof podStatus>;

/** What a person wrote: a pod without the parts that the control plane adds. */
export const podManifest = z.object({
  apiVersion: z.literal("v1"),
  kind: z.literal("Pod"),
  metadata: z.object({
    name: label,
    namespace: label.default("default"),
    labels: stringMap.optional(),
    annotations: stringMap.optional(),
  }),
  spec: podSpec,
});
export type PodManifest = z.infer<typeof podManifest>;

/** A pod as the control plane keeps it and `rkl get pods` shows it (core/v1 Pod). */
export const pod = podManifest.extend({
  metadata: podManifest.shape.metadata.extend({
    uid: text(64),
    creationTimestamp: timestamp,
    deletionTimestamp: timestamp.optional(),
  }),
  status: podStatus,
});
export type Pod = z.infer<typeof pod>;
