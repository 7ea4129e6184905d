import { systemClock } from "@rk8s/host";
import type { Storage } from "@rk8s/storage";
import { collect } from "@rk8s/storage/testing";
import { expect, test } from "vitest";

import { openSession } from "./connection/database.js";
import { parseSqlTarget } from "./sql-target.js";
import { open, put, text } from "./testing/open.js";
import { TcpProxy } from "./testing/tcp-proxy.js";
import type { SqlServer } from "./testing/sql-server.js";
import type { Fate } from "./testing/tcp-proxy.js";

/** A server that dies, stands still or loses its voice; no answer may be wrong for it. */
export function outageTests(server: () => SqlServer): void {
  test("kill -9 of the server during writes loses nothing, repeats nothing and breaks no watch", async () => {
    const url = await server().newDatabase();
    await using storage = await open(url);
    await using other = await open(url);
    const rounds = 150;
    const watches = [storage, other].map((one) => collect(one, "chain", 1, rounds));
    const chain = increments(storage, rounds);
    for (const upTo of [20, 60, 110]) {
      await chain.reached(upTo);
      await server().kill();
      await server().restart();
    }
    await chain.done;
    // Each link compared what the one before it wrote: one that was lost or applied twice would have broken the chain.
    expect(text((await other.get("chain"))?.value)).toBe(String(rounds));
    for (const watch of watches) {
      const seen = await watch;
      expect(seen.map(({ value }) => text(value))).toEqual(
        Array.from({ length: rounds }, (_, index) => String(index + 1)),
      );
    }
  });

  test.each([
    { fate: "cut after", what: "arrived, its answer was lost" },
    { fate: "cut before", what: "was lost" },
    { fate: "silence after", what: "arrived, and nothing more was heard" },
  ] as const)("a COMMIT that $what: the change is made once and the caller hears of it", async ({ fate }) => {
    const url = await server().newDatabase();
    await using direct = await open(url);
    await using proxy = await TcpProxy.start(server().port);
    await using storage = await open(server().urlBehind(url, proxy.port));
    const { revision } = await storage.transaction([], [put("token", "unused")]);
    let commits = 0;
    proxy.judge = (request) => {
      if (!/commit/i.test(request.toString("latin1"))) return "pass";
      commits += 1;
      return commits === 1 ? (fate satisfies Fate) : "pass";
    };
    const result = await storage.transaction(
      [{ key: "token", modRevision: revision }],
      [put("token", "used")],
    );
    expect(result).toEqual({ succeeded: true, revision: revision + 1 });
    expect(await direct.get("token")).toMatchObject({ modRevision: revision + 1 });
    expect(commits).toBeGreaterThan(1);
  });

  test("a lost answer to a losing transaction is still a loss", async () => {
    const url = await server().newDatabase();
    await using proxy = await TcpProxy.start(server().port);
    await using storage = await open(server().urlBehind(url, proxy.port));
    await storage.transaction([], [put("token", "used")]);
    proxy.judge = (request) => (/commit/i.test(request.toString("latin1")) ? "cut after" : "pass");
    const result = await storage.transaction([{ key: "token", modRevision: 0 }], [put("token", "mine")]);
    expect(result).toEqual({ succeeded: false, revision: 1 });
  });

  test("a writer that falls silent inside its transaction holds others up for seconds, not for ever", async () => {
    const url = await server().newDatabase();
    await using storage = await open(url);
    const options = { clock: systemClock, statementMs: 2000 };
    const silent = await openSession(await parseSqlTarget({ url }), options);
    await silent.query("begin");
    await silent.query("select revision from rk8s_store for update");
    const before = performance.now();
    expect(await storage.transaction([], [put("a", "1")])).toMatchObject({ succeeded: true });
    expect(performance.now() - before).toBeLessThan(8000);
    await expect(silent.query("commit")).rejects.toMatchObject({ name: "RksError" });
    silent.close();
  });

  test("a server that stands still is an error in seconds, and no harm when it goes on", async () => {
    const url = await server().newDatabase();
    await using storage = await open(url);
    await storage.transaction([], [put("a", "1")]);
    await server().pause();
    const before = performance.now();
    try {
      await expect(storage.get("a")).rejects.toMatchObject({ retryable: true });
      expect(performance.now() - before).toBeLessThan(10_000);
    } finally {
      await server().resume();
    }
    expect(await storage.transaction([], [put("a", "2")])).toEqual({ succeeded: true, revision: 2 });
    expect(text((await storage.get("a"))?.value)).toBe("2");
  });

  test("while the server is away everything that waits fails together, and works again afterwards", async () => {
    const url = await server().newDatabase();
    await using storage = await open(url);
    await storage.transaction([], [put("a", "1")]);
    await server().kill();
    const before = performance.now();
    try {
      const settled = await Promise.allSettled(
        Array.from({ length: 500 }, (_, index) => storage.transaction([], [put(`k/${index}`, "")])),
      );
      expect(settled.every(({ status }) => status === "rejected")).toBe(true);
      expect(performance.now() - before).toBeLessThan(13_000);
      await expect(open(url)).rejects.toMatchObject({ code: "UNREACHABLE" });
    } finally {
      await server().restart();
    }
    expect(await storage.transaction([], [put("a", "2")])).toMatchObject({ succeeded: true });
    expect((await storage.list("k/")).entries).toEqual([]);
  });
}

/** Count up in one key, each step on condition that the one before it is what is stored. */
function increments(
  storage: Storage,
  rounds: number,
): { readonly done: Promise<void>; reached(count: number): Promise<void> } {
  const reached: (() => void)[] = [];
  let last = 0;
  const run = async (): Promise<void> => {
    let modRevision = 0;
    for (last = 1; last <= rounds; last += 1) {
      const result = await storage.transaction([{ key: "chain", modRevision }], [put("chain", String(last))]);
      expect(result.succeeded).toBe(true);
      modRevision = result.revision;
      reached[last]?.();
    }
  };
  return {
    done: run(),
    reached: (count) =>
      new Promise((resolve) => {
        if (last > count) resolve();
        else reached[count] = resolve;
      }),
  };
}
