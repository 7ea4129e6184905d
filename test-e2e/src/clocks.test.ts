import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { Cluster } from "./harness/cluster.js";
import { suiteThatNeeds } from "./harness/needs.js";

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
