import fc from "fast-check";
import type { Node, NodeStatus } from "../node.js";
import type { Container, ContainerState, ContainerStatus, Pod, PodManifest, PodStatus } from "../pod.js";

/** Text of so many characters (UTF-16 code units), any that Unicode has. */
export function anyText(min: number, max: number): fc.Arbitrary<string> {
  return fc
    .string({ unit: "binary", minLength: min, maxLength: Math.min(max, 80) })
    .filter((text) => text.length <= max);
}

/** So many bytes. */
export function anyBytes(min: number, max: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: min, maxLength: max }).map((bytes) => Uint8Array.from(bytes));
}

/** A DNS label. */
export const anyLabel: fc.Arbitrary<string> = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/);

/** A time of this and the next centuries as RFC 3339 in UTC. */
export const anyTimestamp: fc.Arbitrary<string> = fc
  .date({ min: new Date("1970-01-01T00:00:00Z"), max: new Date("2199-12-31T00:00:00Z"), noInvalidDate: true })
  .map((date) => date.toISOString());

/** A map with keys that JavaScript does not treat in a special way. */
function anyMap(maxKey: number, maxValue: number): fc.Arbitrary<Record<string, string>> {
  const key = anyText(1, maxKey).filter((text) => text !== "__proto__");
  return fc.dictionary(key, anyText(0, maxValue), { maxKeys: 4, noNullPrototype: true });
}

/** Labels, annotations. */
export const anyStringMap: fc.Arbitrary<Record<string, string>> = anyMap(317, 4096);

const quantities = anyMap(64, 64);

/** What any node may say of itself. */
export const anyNodeStatus: fc.Arbitrary<NodeStatus> = objectOf<NodeStatus>(
  {
    capacity: quantities,
    allocatable: quantities,
    addresses: fc.array(objectOf({ type: anyText(1, 32), address: anyText(1, 253) }), { maxLength: 3 }),
    conditions: fc.array(
      objectOf(
        { type: anyText(1, 64), status: fc.constantFrom("True", "False", "Unknown") },
        {
          reason: anyText(0, 128),
          message: anyText(0, 1024),
          lastHeartbeatTime: anyTimestamp,
          lastTransitionTime: anyTimestamp,
        },
      ),
      { maxLength: 3 },
    ),
  },
  {
    nodeInfo: objectOf({
      operatingSystem: anyText(0, 64),
      architecture: anyText(0, 64),
      kernelVersion: anyText(0, 128),
      osImage: anyText(0, 256),
      machineID: anyText(0, 64),
      bootID: anyText(0, 64),
      kubeletVersion: anyText(0, 64),
      containerRuntimeVersion: anyText(0, 128),
    }),
  },
);

/** Any node as the control plane shows it. */
export const anyNode: fc.Arbitrary<Node> = objectOf<Node>({
  apiVersion: fc.constant("v1"),
  kind: fc.constant("Node"),
  metadata: objectOf<Node["metadata"]>(
    { name: anyLabel, uid: anyText(1, 64), creationTimestamp: anyTimestamp },
    { labels: anyStringMap, annotations: anyStringMap },
  ),
  spec: objectOf<Node["spec"]>({}, { unschedulable: fc.boolean() }),
  status: anyNodeStatus,
});

const container: fc.Arbitrary<Container> = objectOf<Container>(
  { name: anyLabel },
  {
    image: anyText(0, 512),
    command: fc.array(anyText(0, 100), { maxLength: 3 }),
    args: fc.array(anyText(0, 100), { maxLength: 3 }),
    workingDir: anyText(0, 4096),
    env: fc.array(
      objectOf({ name: fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,20}$/), value: anyText(0, 100) }),
      {
        maxLength: 3,
      },
    ),
  },
);

const podSpec: fc.Arbitrary<PodManifest["spec"]> = objectOf<PodManifest["spec"]>(
  {
    containers: fc.array(container, { minLength: 1, maxLength: 3 }),
    restartPolicy: fc.constantFrom("Always", "OnFailure", "Never"),
    terminationGracePeriodSeconds: fc.integer({ min: 0, max: 3600 }),
  },
  { nodeName: anyLabel },
);

const containerState: fc.Arbitrary<ContainerState> = objectOf<ContainerState>(
  {},
  {
    waiting: objectOf({ reason: anyText(1, 128) }, { message: anyText(0, 1024) }),
    running: objectOf({ startedAt: anyTimestamp }),
    terminated: objectOf(
      { exitCode: fc.integer({ min: 0, max: 255 }), reason: anyText(1, 128) },
      {
        signal: fc.integer({ min: 1, max: 64 }),
        message: anyText(0, 1024),
        startedAt: anyTimestamp,
        finishedAt: anyTimestamp,
      },
    ),
  },
);

const containerStatus: fc.Arbitrary<ContainerStatus> = objectOf<ContainerStatus>(
  { name: anyLabel, ready: fc.boolean(), restartCount: fc.nat(), state: containerState },
  { lastState: containerState },
);

/** Any status of a pod. */
export const anyPodStatus: fc.Arbitrary<PodStatus> = objectOf<PodStatus>(
  {
    phase: fc.constantFrom("Pending", "Running", "Succeeded", "Failed", "Unknown"),
    containerStatuses: fc.array(containerStatus, { maxLength: 3 }),
  },
  {
    reason: anyText(0, 128),
    message: anyText(0, 1024),
    hostIP: anyText(0, 64),
    podIP: anyText(0, 64),
    startTime: anyTimestamp,
  },
);

const metadata = { name: anyLabel, namespace: anyLabel };
const optionalMetadata = { labels: anyStringMap, annotations: anyStringMap };

/** Any manifest, defaults filled in. */
export const anyPodManifest: fc.Arbitrary<PodManifest> = objectOf<PodManifest>({
  apiVersion: fc.constant("v1"),
  kind: fc.constant("Pod"),
  metadata: objectOf<PodManifest["metadata"]>(metadata, optionalMetadata),
  spec: podSpec,
});

/** Any pod as the control plane keeps it. */
export const anyPod: fc.Arbitrary<Pod> = objectOf<Pod>({
  apiVersion: fc.constant("v1"),
  kind: fc.constant("Pod"),
  metadata: objectOf<Pod["metadata"]>(
    { ...metadata, uid: anyText(1, 64), creationTimestamp: anyTimestamp },
    { ...optionalMetadata, deletionTimestamp: anyTimestamp },
  ),
  spec: podSpec,
  status: anyPodStatus,
});

/** What each field may hold. */
export type FieldArbitraries = Readonly<Record<string, fc.Arbitrary<unknown>>>;

/** An ordinary object with all required and some optional fields; the codec's tests check that it has the shape of `T`. */
export function objectOf<T>(required: FieldArbitraries, optional: FieldArbitraries = {}): fc.Arbitrary<T> {
  return fc
    .record({ ...required, ...optional }, { requiredKeys: Object.keys(required), noNullPrototype: true })
    .map((value) => value as T);
}
