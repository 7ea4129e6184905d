import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { assertDone, Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";

interface ListedPod {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly spec: { readonly nodeName?: string };
  readonly status: {
    readonly phase: string;
    readonly containerStatuses: readonly {
      readonly restartCount: number;
      readonly state: { readonly terminated?: { readonly exitCode: number } };
    }[];
  };
}

function manifest(name: string, script: string, spec: object = {}): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 1,
      ...spec,
      containers: [{ name: "main", command: ["sh", "-c", script] }],
    },
  };
}

async function apply(cluster: Cluster, pod: object): Promise<void> {
  const file = join(cluster.folder, "manifest.json");
  await writeFile(file, JSON.stringify(pod));
  assertDone(await cluster.operator(["apply", "-f", file]));
}

async function pods(cluster: Cluster): Promise<readonly ListedPod[]> {
  return JSON.parse(assertDone(await cluster.operator(["get", "pods", "-o", "json"])).stdout) as ListedPod[];
}

async function podInPhase(cluster: Cluster, phase: string): Promise<ListedPod> {
  const [pod] = await eventually(
    () => pods(cluster),
    ([first]) => first?.status.phase === phase,
  );
  return pod!;
}

test("pods go to the node they name, else to the one with the fewest", async () => {
  await using cluster = await Cluster.start();
  await Promise.all([cluster.joinNode("worker-1"), cluster.joinNode("worker-2")]);

  await apply(cluster, manifest("pinned", "sleep 1000", { nodeName: "worker-1" }));
  await apply(cluster, manifest("free", "sleep 1000"));

  const running = await eventually(
    () => pods(cluster),
    (list) => list.length === 2 && list.every(({ status }) => status.phase === "Running"),
  );
  expect(Object.fromEntries(running.map((pod) => [pod.metadata.name, pod.spec.nodeName]))).toEqual({
    pinned: "worker-1",
    free: "worker-2",
  });
});

test("a pod's exit code and what it wrote come back to the operator", async () => {
  await using cluster = await Cluster.start();
  await cluster.joinNode("worker-1");
  await apply(cluster, manifest("fails", "echo one; echo two; exit 3"));

  const pod = await podInPhase(cluster, "Failed");

  expect(pod.status.containerStatuses[0]!.state.terminated!.exitCode).toBe(3);
  expect(assertDone(await cluster.operator(["logs", "fails"])).stdout).toBe("one\ntwo\n");
  expect(assertDone(await cluster.operator(["logs", "fails", "--tail", "1"])).stdout).toBe("two\n");
});

test("an operator token serves several commands from another host", async () => {
  await using cluster = await Cluster.start();
  await cluster.joinNode("worker-1");
  const { token } = await cluster.mintToken(["--role", "operator"]);
  const env = { RKS_ADDRESS: cluster.address, JOIN_TOKEN: token, ROOT_CERT_PATH: cluster.rootCertPath };

  const nodes = assertDone(await cluster.rkl(["get", "nodes", "-o", "json"], { env }));
  const pending = assertDone(await cluster.rkl(["get", "pods", "-o", "json"], { env }));

  expect((JSON.parse(nodes.stdout) as { metadata: { name: string } }[])[0]!.metadata.name).toBe("worker-1");
  expect(JSON.parse(pending.stdout)).toEqual([]);
});

test("pods outlive the agent and are the same pods for its successor", async () => {
  await using cluster = await Cluster.start();
  const first = await cluster.joinNode("worker-1");
  await apply(cluster, manifest("stays", "sleep 1000", { nodeName: "worker-1" }));
  const before = await podInPhase(cluster, "Running");

  first.kill("SIGKILL");
  await first.exited;
  const rejoin = await cluster.rks(["node", "rejoin", "worker-1", "--config", cluster.configFile, "--json"]);
  const { token } = JSON.parse(assertDone(rejoin).stdout) as { token: string };
  const second = cluster.startAgent("worker-1", token);
  await second.event("registered");

  const after = await podInPhase(cluster, "Running");
  expect(after.metadata.uid).toBe(before.metadata.uid);
  expect(after.status.containerStatuses[0]!.restartCount).toBe(0);
  assertDone(await cluster.operator(["delete", "pod", "stays"]));
  await eventually(
    () => pods(cluster),
    (list) => list.length === 0,
  );
});

test("a deleted pod is stopped and gone", async () => {
  await using cluster = await Cluster.start();
  await cluster.joinNode("worker-1");
  await apply(cluster, manifest("goes", "trap '' TERM; while :; do sleep 0.1; done"));
  await podInPhase(cluster, "Running");

  assertDone(await cluster.operator(["delete", "pod", "goes"]));

  expect(
    await eventually(
      () => pods(cluster),
      (list) => list.length === 0,
    ),
  ).toEqual([]);
});
