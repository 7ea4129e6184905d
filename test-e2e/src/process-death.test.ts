import { access, mkdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { assertDone, Cluster } from "./harness/cluster.js";
import { killAgainAndAgain } from "./harness/death-story.js";
import { eventually } from "./harness/eventually.js";
import type { Daemon } from "./harness/process.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { workerPid } from "./harness/worker.js";

interface Status {
  readonly pid: number;
  readonly workerPid: number;
  readonly state: string;
  readonly survives: { readonly crash: string; readonly upgrade: string };
}

async function statusOf(cluster: Cluster, name: string): Promise<Status> {
  const result = await cluster.rkl(["status", "--data-dir", join(cluster.folder, name), "--json"]);
  return JSON.parse(assertDone(result).stdout) as Status;
}

/** From the moment on in which there is one; the supervisor starts other programs before it. */
async function startedWorker(agent: Daemon): Promise<number | undefined> {
  const pid = await workerPid(agent);
  if (pid === undefined) return undefined;
  const words = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return words.includes("rkl-worker") ? pid : undefined;
}

async function isGone(pid: number): Promise<boolean> {
  return access(`/proc/${pid}`).then(
    () => false,
    () => true,
  );
}

suiteThatNeeds(["linux"], "the death of an agent's process", () => {
  test("costs no node, no identity, no token and no pod, whenever it comes", async () => {
    const { backMs, ...outcome } = await killAgainAndAgain("agent", 5);

    expect(outcome).toMatchObject({
      surprises: [],
      nodes: ["worker-1"],
      tokenUses: 1,
      refusedBecause: null,
      pod: { restarts: 0, isTheSame: true },
      exitCode: 0,
    });
    expect(outcome.conditions).toContain("Ready");
    expect(outcome.conditions).not.toContain("CloneSuspected");
    // 2 s on a machine of its own, which the nightly run is; this one may be busy with other suites.
    expect(Math.max(...backMs)).toBeLessThan(10_000);
  });

  test("of the control plane, also while a node renews, costs neither", async () => {
    expect(await killAgainAndAgain("control plane", 3)).toMatchObject({
      surprises: [],
      nodes: ["worker-1"],
      tokenUses: 1,
      refusedBecause: null,
      pod: { restarts: 0, isTheSame: true },
      exitCode: 0,
    });
  });

  test("in the middle of a join asks again with the same key, although the token came from stdin", async () => {
    await using cluster = await Cluster.start();
    const { token } = await cluster.mintToken(["--node", "worker-1"]);
    await cluster.controlPlane.stop();
    const agent = cluster.startAgent("worker-1", token);
    await agent.event("reconnecting");

    process.kill((await workerPid(agent))!, "SIGKILL");
    await agent.event("reconnecting", agent.lines.length);
    await cluster.startControlPlane();

    expect(await agent.event("joined")).toMatchObject({ node: "worker-1" });
    await agent.event("registered");
  });

  test("again and again before it has asked for anything does not lose a token from stdin", async () => {
    await using cluster = await Cluster.start();
    const { token } = await cluster.mintToken(["--node", "worker-1"]);
    const agent = cluster.startAgent("worker-1", token);
    let killed: number | undefined;
    for (let deaths = 0; deaths < 3; deaths += 1) {
      const worker = await eventually(
        () => startedWorker(agent),
        (pid) => pid !== undefined && pid !== killed,
      );
      process.kill(worker!, "SIGKILL");
      killed = worker;
    }
    expect(await agent.event("registered")).toMatchObject({ node: "worker-1" });
    expect(agent.stderr.match(/was ended by SIGKILL; it is started again/g)).toHaveLength(3);
  });

  test("leaves the supervisor in charge: its pid is shown, holds the folder, and takes the signals", async () => {
    await using cluster = await Cluster.start();
    const agent = await cluster.joinNode("worker-1");
    const status = await statusOf(cluster, "worker-1");
    expect(status).toMatchObject({
      pid: agent.pid,
      workerPid: await workerPid(agent),
      survives: { crash: "supervisor", upgrade: "supervisor" },
    });

    const { token } = await cluster.mintToken();
    const second = cluster.startAgent("worker-1", token);
    expect(await second.exited).toBe(75);
    expect(second.stderr).toContain(`pid ${agent.pid} `);

    expect(await agent.stop()).toBe(0);
    expect(await isGone(status.workerPid)).toBe(true);
  });

  test("together with its supervisor's is the end of the agent: nobody goes on as the node", async () => {
    await using cluster = await Cluster.start();
    const agent = await cluster.joinNode("worker-1");
    const worker = (await workerPid(agent))!;

    agent.kill("SIGKILL");
    await agent.exited;
    await eventually(
      () => isGone(worker),
      (gone) => gone,
    );

    const { token } = await cluster.mintToken(["--node", "worker-2"]);
    const next = cluster.startAgent("worker-2", token, { dataFolder: join(cluster.folder, "worker-1") });
    expect(await next.event("registered")).toMatchObject({ node: "worker-2" });
  });

  test("on SIGUSR2 is the way to the program that is on the disk now", async () => {
    await using cluster = await Cluster.start();
    const agent = await cluster.joinNode("worker-1");
    const before = await workerPid(agent);
    const from = agent.lines.length;

    agent.kill("SIGUSR2");
    const resumed = await agent.event("resumed", from);
    await agent.event("registered", from);

    expect(resumed["serial"]).toBe(agent.lines[0]!["serial"]);
    expect(await workerPid(agent)).not.toBe(before);
    expect(agent.stderr).toContain("replaced by the program that is on the disk now");
  });

  test("is no way to the identity for a pod: containers get none of the agent's descriptors", async () => {
    await using cluster = await Cluster.start();
    const agent = await cluster.joinNode("worker-1");
    const folder = join(cluster.folder, "shown");
    await mkdir(folder);
    const command = [
      "sh",
      "-c",
      `ls -l /proc/self/fd > ${folder}/fds; cat /proc/self/coredump_filter > ${folder}/core`,
    ];
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "curious" },
      spec: { containers: [{ name: "c", command }] },
    };
    await writeFile(join(folder, "pod.json"), JSON.stringify(pod));
    assertDone(await cluster.operator(["apply", "-f", join(folder, "pod.json")]));
    const core = await eventually(
      () => readFile(join(folder, "core"), "utf8").catch(() => ""),
      (text) => text !== "",
    );

    expect(await readlink(`/proc/${agent.pid}/fd/0`)).not.toBe("");
    expect(await readFile(join(folder, "fds"), "utf8")).not.toMatch(/\/rkl-\w+\/[ab]/);
    expect(core.trim()).toBe("00000033");
    await rm(folder, { recursive: true });
  });
});
