import { execFileSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Cluster } from "./harness/cluster.js";
import { suiteThatNeeds } from "./harness/needs.js";
import type { Daemon, JsonLine } from "./harness/process.js";
import { workerPid } from "./harness/worker.js";

/** Stop supervisor and worker, as a suspended host does, until so long after the certificate's end; gives the next line's index. */
async function standStill(agent: Daemon, afterEndMs: number): Promise<number> {
  const pids = [agent.pid, (await workerPid(agent))!];
  for (const pid of pids) process.kill(pid, "SIGSTOP");
  // What it said before that is read.
  await sleep(200);
  const from = agent.lines.length;
  const { notAfter } = agent.lines.findLast((line) => "notAfter" in line)!;
  await sleep(Date.parse(String(notAfter)) + afterEndMs - Date.now());
  for (const pid of pids.toReversed()) process.kill(pid, "SIGCONT");
  return from;
}

suiteThatNeeds(["linux"], "an agent that was stopped and goes on", () => {
  /** More attempts than this in a few seconds would be a storm. */
  const FEW = 5;
  const ofKind = ({ lines }: Daemon, kind: string, from: number): JsonLine[] =>
    lines.slice(from).filter(({ event }) => event === kind);

  test("past its renewal's time renews at once, past its certificate's end comes back by its grant, or says once that it is over", async () => {
    await using cluster = await Cluster.start({ certificates: { node_ttl: "12s" } });
    const env = { RKL_RECOVERY: "none" };
    const grant = ["--recoveries", "1", "--recovery-window", "1h"];
    const { token } = await cluster.mintToken(["--node", "granted", ...grant]);
    const granted = cluster.startAgent("granted", token, { env });
    await granted.event("recovery");
    const [late, lost] = await Promise.all(["late", "lost"].map((name) => cluster.joinNode(name, { env })));
    const before = new Map((await cluster.nodes()).map((node) => [node.name, node]));
    const [fromLate, fromGranted, fromLost] = await Promise.all([
      standStill(late!, -3500),
      standStill(granted, 1500),
      standStill(lost!, 1500),
    ]);

    await late!.event("renewed", fromLate);
    await granted.event("recovered", fromGranted);
    await granted.event("registered", fromGranted);
    expect(await lost!.exited).toBe(77);
    const errors = ofKind(lost!, "error", fromLost);
    expect(errors).toMatchObject([{ code: "CERTIFICATE_EXPIRED" }]);
    expect(errors[0]!["suggestion"]).toContain("rks node rejoin lost");
    expect([...ofKind(late!, "error", fromLate), ...ofKind(granted, "error", fromGranted)]).toEqual([]);
    for (const [agent, from] of [
      [late!, fromLate],
      [granted, fromGranted],
      [lost!, fromLost],
    ] as const)
      expect(ofKind(agent, "reconnecting", from).length).toBeLessThan(FEW);

    const nodes = await cluster.nodes();
    expect(nodes.map(({ name }) => name).toSorted()).toEqual(["granted", "late", "lost"]);
    for (const { name, joinedAt } of nodes) expect(joinedAt).toBe(before.get(name)!.joinedAt);
    const ready = nodes.filter(({ status }) => status === "Ready").map(({ name }) => name);
    expect(ready.toSorted()).toEqual(["granted", "late"]);
  });
});

suiteThatNeeds(["linux", "faketime"], "an agent whose clock is wrong", () => {
  // Not the program itself: it stays between us and the agent, and keeps signals from it.
  const library = execFileSync("faketime", ["-f", "+0s", "printenv", "LD_PRELOAD"], {
    encoding: "utf8",
  }).trim();
  const clock = (setting: string): Readonly<Record<string, string>> => ({
    LD_PRELOAD: library,
    FAKETIME: setting,
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
  });

  test("by half a minute or ten minutes joins a new cluster, renews, and says how far it is off", async () => {
    await using cluster = await Cluster.start({ certificates: { node_ttl: "12s" } });
    const offsets = [30, -30, 600, -600];
    await Promise.all(
      offsets.map(async (seconds, i) => {
        const agent = await cluster.joinNode(`worker-${i}`, {
          env: clock(`${seconds > 0 ? "+" : ""}${seconds}s`),
        });
        const skew = Number((await agent.event("registered"))["clockSkewSeconds"]);
        expect(Math.abs(skew - seconds)).toBeLessThan(5);
        await agent.event("renewed");
        expect(agent.lines.filter(({ event }) => event === "error")).toEqual([]);
      }),
    );
    expect((await cluster.nodes()).map(({ status }) => status)).toEqual(offsets.map(() => "Ready"));
  });

  test("in 1970 says CLOCK_SKEW and by how much, tries again without haste, and uses no token", async () => {
    await using cluster = await Cluster.start();
    const { token } = await cluster.mintToken(["--node", "worker-1"]);
    const agent = cluster.startAgent("worker-1", token, { env: clock("@1970-01-02 00:00:00") });
    const waiting = await agent.line(({ event, attempt }) => event === "reconnecting" && attempt === 2);
    expect(waiting).toMatchObject({ code: "CLOCK_SKEW" });
    expect(String(waiting["message"])).toMatch(/at least \d{9,} s behind/);
    expect(Number(waiting["delaySeconds"])).toBeGreaterThanOrEqual(0.5);
    expect(await cluster.nodes()).toEqual([]);
    agent.kill("SIGTERM");
    await agent.exited;
    await cluster.joinNode("worker-2");
  });
});
