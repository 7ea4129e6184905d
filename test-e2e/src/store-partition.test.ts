import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { askRks, clusterState, newToken, readiness, tokenState } from "./harness/ask-rks.js";
import type { Cluster, ListedNode } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { suiteThatNeeds } from "./harness/needs.js";
import type { Daemon } from "./harness/process.js";
import { StoreLab } from "./harness/store-lab.js";

/** What a request may take to be refused by a control plane without a majority: an operation's time, and a bit. */
const REFUSAL_MS = 10_000;
/** The time to live of a place among control planes, a look at it and a handshake. */
const LEFT_MS = 16_000;
const STEWARD = "This rks is the steward";

suiteThatNeeds(
  ["linux", "root", "network namespaces", "etcd"],
  "a control plane that is cut off from the store's majority",
  () => {
    test("issues nothing, says so and is left; the others go on, and after healing both tell the same", async () => {
      await using lab = await StoreLab.start();
      const { one } = lab;
      const [atOne, atTwo] = lab.addresses;
      // Two that are at the first: one knows no other.
      const [both, loyal] = await Promise.all([
        joined(lab, one, "both", `${atOne},${atTwo}`),
        joined(lab, one, "loyal", atOne),
      ]);
      const two = await lab.startTwo();
      expect(one.controlPlane.stderr).toContain(STEWARD);
      await lab.leadFromOne();
      const duel = await newToken(one);
      const before = [duel.id, (await newToken(two)).id];
      const heard = { both: both.lines.length, loyal: loyal.lines.length };

      await lab.partition();
      const cutAt = performance.now();

      // The same token on both sides at once.
      const cutOff = one.startAgent("duel-one", duel.token, { ...lab.workers, rksAddress: atOne });
      const reached = two.startAgent("duel-two", duel.token, { ...lab.workers, rksAddress: atTwo });
      // What was answered in the very moment counts, and nothing is answered for long.
      const answered: string[] = [];
      const refusals = await Promise.all([
        refusalOf(async () => void answered.push((await newToken(one)).id)),
        refusalOf(() => askRks(one, "POST", "/v1/rk8s/nodes/loyal/ban", { reason: "test" })),
        refusalOf(() => askRks(one, "POST", "/v1/rk8s/nodes/loyal/renew", {})),
        refusalOf(() => clusterState(one)),
      ]);
      expect(refusals.map(({ code }) => code)).toEqual(refusals.map(() => "UNAVAILABLE"));
      for (const { message } of refusals) expect(message).toMatch(/store|renew/);
      expect(await readiness(one)).toEqual({ status: 503, says: "degraded: the store does not answer" });
      expect(await readiness(two)).toEqual({ status: 200, says: "ok" });

      await reached.event("registered");
      await joined(lab, two, "new", atTwo);
      const later = await newToken(two);
      await both.event("registered", heard.both);
      const tookMs = performance.now() - cutAt;
      expect(both.lines.findLast(({ event }) => event === "connected")).toMatchObject({ rksAddress: atTwo });
      await eventually(
        () => Promise.resolve(two.controlPlane.stderr),
        (log) => log.includes(STEWARD),
      );
      process.stdout.write(
        `the node was at the majority ${Math.round(tookMs)} ms after the cut, the steward ` +
          `${Math.round(performance.now() - cutAt)} ms after it\n`,
      );
      expect(tookMs).toBeLessThan(LEFT_MS);
      expect((await listed(two)).find(({ name }) => name === "both")?.status).toBe("Ready");
      expect(await tokenState(two, duel.id)).toMatchObject({ status: "used", usedCount: 1 });
      // Nobody was issued anything on the other side.
      expect(cutOff.lines.map(({ event }) => event)).not.toContain("joined");

      await lab.heal();
      expect(await cutOff.exited).toBe(77);
      expect(cutOff.lines.at(-1)).toMatchObject({ event: "error", code: "JOIN_TOKEN_USED" });
      await loyal.event("registered", heard.loyal);
      await eventually(
        () => readiness(one),
        ({ status }) => status === 200,
      );
      const names = ["both", "duel-two", "loyal", "new"];
      for (const plane of [one, two]) {
        const nodes = await eventually(
          () => listed(plane),
          (all) => all.every(({ status }) => status === "Ready"),
        );
        expect(nodes.map(({ name }) => name)).toEqual(names);
        const known = (await clusterState(plane)).tokens.map(({ id }) => id);
        expect(known).toEqual(expect.arrayContaining([...before, ...answered, later.id]));
        expect(await tokenState(plane, duel.id)).toMatchObject({ status: "used", usedCount: 1 });
      }
      await askRks(one, "POST", "/v1/rk8s/nodes/loyal/renew", {});
      await loyal.event("renewed", heard.loyal);
      await joined(lab, one, "again", atOne);
    });
  },
);

/** Why something is refused, which is asked again for as long as it is done. */
async function refusalOf(work: () => Promise<unknown>): Promise<RksError> {
  for (;;) {
    const startedAt = performance.now();
    try {
      await work();
    } catch (reason) {
      const tookMs = performance.now() - startedAt;
      if (tookMs > REFUSAL_MS) throw new Error(`refused after ${tookMs} ms`, { cause: reason });
      return RksError.from(reason);
    }
  }
}

/** Faster than by the commands, each of which is a process of its own. */
async function joined(lab: StoreLab, plane: Cluster, name: string, rksAddress: string): Promise<Daemon> {
  const { token } = await newToken(plane, { node: name });
  const agent = plane.startAgent(name, token, { ...lab.workers, rksAddress });
  await agent.event("registered");
  return agent;
}

async function listed(plane: Cluster): Promise<readonly ListedNode[]> {
  const { nodes } = (await askRks(plane, "GET", "/v1/rk8s/nodes")) as { nodes: readonly ListedNode[] };
  return nodes;
}
