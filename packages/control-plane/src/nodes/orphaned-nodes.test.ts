import { silentLogger } from "@rk8s/protocol";
import { aNodeStatus, FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage } from "@rk8s/storage";
import { expect, test, vi } from "vitest";
import { UNSHARED } from "../vault/members/sharing.js";
import { type NodeState, nodeStates } from "./node-state.js";
import { OrphanedNodes } from "./orphaned-nodes.js";

const GRACE_SECONDS = 10;

/** One node, and the judge of those whose owner is not `present`. */
function judged() {
  const barrier = memoryStorage();
  const clock = new FakeClock();
  const states = nodeStates(barrier);
  const present = new Set<string>();
  const changed: (() => void)[] = [];
  const members = {
    ...UNSHARED.members,
    isShared: true,
    find: (id: string) => (present.has(id) ? { id, address: "" } : undefined),
    onChange: (listener: () => void) => void changed.push(listener),
  };
  const orphans = new OrphanedNodes(
    { heartbeatGraceSeconds: GRACE_SECONDS },
    { barrier, clock, logger: silentLogger, sharing: { ...UNSHARED, members } },
  );
  return {
    barrier,
    /** Begin; gives what ends it. */
    run: async (): Promise<() => Promise<void>> => {
      const stop = new AbortController();
      const running = orphans.run(stop.signal);
      await clock.nextSleep();
      return () => {
        stop.abort();
        return running;
      };
    },
    register: async (owner: string): Promise<void> => {
      const at = new Date(0).toISOString();
      const state: NodeState = {
        version: "1",
        address: "192.0.2.1",
        status: aNodeStatus(),
        liveness: "Ready",
        since: at,
        lastHeartbeat: at,
        owner,
      };
      await barrier.transaction([], [states.put("w1", state)]);
    },
    liveness: async () => (await states.read("w1"))?.record.liveness,
    members: (...ids: string[]): void => {
      present.clear();
      for (const id of ids) present.add(id);
      for (const listener of changed) listener();
    },
    /** Let so many seconds pass, a look at a time. */
    wait: async (seconds: number): Promise<void> => {
      for (let looks = 0; looks < seconds * 2; looks += 1) {
        clock.advance(500);
        await clock.nextSleep();
      }
    },
  };
}

test("a node is looked at when its grace is over and when three are, and not in between", async () => {
  const { barrier, run, register, liveness, wait } = judged();
  await register("gone");
  const get = vi.spyOn(barrier, "get");
  const stop = await run();
  await wait(GRACE_SECONDS);
  expect(get).toHaveBeenCalledTimes(0);
  await wait(1);
  expect(get).toHaveBeenCalledTimes(1);
  await wait(2 * GRACE_SECONDS - 1);
  expect(get).toHaveBeenCalledTimes(1);
  expect(await liveness()).toBe("NotReady");
  await wait(1);
  expect(await liveness()).toBe("Unknown");
  expect(get).toHaveBeenCalledTimes(4);
  await stop();
});

test("a node whose next control plane goes as well has a grace from then on", async () => {
  const { run, register, liveness, members, wait } = judged();
  members("next");
  await register("gone");
  const stop = await run();
  await wait(GRACE_SECONDS - 2);
  await register("next");
  await wait(1);
  members();
  await wait(GRACE_SECONDS - 1);
  expect(await liveness()).toBe("Ready");
  await wait(2);
  expect(await liveness()).toBe("NotReady");
  await stop();
});
