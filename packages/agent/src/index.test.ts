import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMemoryTransport } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { createAgent, openProcessRuntime, silentLogger, systemClock } from "./index.js";
import { TestCa } from "./testing/test-ca.js";

test("a custom agent gets its runtime from the package's own face", async () => {
  const folder = await mkdtemp(join(tmpdir(), "rkl-sdk-"));
  try {
    await using runtime = await openProcessRuntime({ folder, clock: systemClock, logger: silentLogger });
    await using agent = await createAgent({
      rksAddress: "127.0.0.1:1",
      joinToken: new TestCa({ nowMs: systemClock.now() }).joinToken().text,
      nodeName: "worker-1",
      transport: createMemoryTransport(),
      runtime,
    });
    const { value } = await agent.events()[Symbol.asyncIterator]().next();
    expect(value).toMatchObject({ event: "reconnecting", code: "UNREACHABLE" });
  } finally {
    await rm(folder, { recursive: true });
  }
});
