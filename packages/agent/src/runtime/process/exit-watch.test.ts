import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeClock, signalLoad } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { ExitWatch } from "./exit-watch.js";

test("waiting again and again leaves nothing with the signal of the one who waits", async () => {
  const folder = await mkdtemp(join(tmpdir(), "rkl-exits-"));
  const clock = new FakeClock();
  using watch = new ExitWatch(folder, { clock });
  const { signal } = new AbortController();
  for (let round = 0; round < 50; round += 1) {
    const next = watch.next({ signal, atMostMs: 100 });
    clock.advance(100);
    await next;
  }
  expect([signalLoad(signal), clock.pendingSleeps]).toEqual([0, 0]);
  await rm(folder, { recursive: true });
});
