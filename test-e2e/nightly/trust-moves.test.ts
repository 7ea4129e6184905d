import { expect, test } from "vitest";
import { Cluster } from "../src/harness/cluster.js";
import { compromiseDrill } from "../src/harness/root-rotation.js";

test("a compromise drill with 200 agents is over in a minute, without a failed request", async () => {
  await using cluster = await Cluster.start({ heartbeat: { interval: "10s", grace: "40s" } });
  const outcome = await compromiseDrill(cluster, 200);
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
  expect(outcome).toMatchObject({ complaints: [], tokensRevoked: 1 });
  expect(outcome.seconds).toBeLessThan(60);
}, 400_000);
