import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { systemClock } from "@rk8s/host";
import { silentLogger } from "@rk8s/protocol";
import { pagesOf } from "@rk8s/storage";
import { openSqlStorage } from "@rk8s/storage-sql";
import { startSqlServer } from "@rk8s/storage-sql/testing";
import type { SqlServerKind } from "@rk8s/storage-sql/testing";
import { expect, test } from "vitest";

import { newToken, tokenState } from "./harness/ask-rks.js";
import { Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { linesUntilKilled } from "./harness/killed-writer.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { whenStoredIn } from "./harness/storage-status.js";

/** Writes ten keys at once, says so when they are stored, and goes on. */
const WRITER = `
  import { systemClock } from "@rk8s/host";
  import { silentLogger } from "@rk8s/protocol";
  import { openSqlStorage } from "@rk8s/storage-sql";
  const [url, name] = process.argv.slice(1);
  const storage = await openSqlStorage({ url, clock: systemClock, logger: silentLogger });
  for (let round = 0; ; round += 1) {
    const keys = Array.from({ length: 10 }, (_, index) => name + "/" + round + "/" + index);
    await Promise.all(
      keys.map((key) => storage.transaction([{ key, modRevision: 0 }], [{ type: "put", key, value: Buffer.from(key) }])),
    );
    console.log(keys.join(" "));
  }`;

suiteThatNeeds(["mariadb"], "a control plane whose state is in a database", () => {
  test("is moved there, shares it with another rks, and survives kill -9 of the server and of itself", async () => {
    await using server = await startSqlServer("mariadb");
    await using cluster = await Cluster.create();
    const inDatabase = { sql_config: { url_file: join(cluster.folder, "database.url") } };
    await writeFile(inDatabase.sql_config.url_file, `${await server.newDatabase()}\n`, { mode: 0o600 });
    await cluster.configure(inDatabase);
    await cluster.startControlPlane();
    await cluster.joinNode("worker-1");
    await whenStoredIn(cluster, "sql");

    await using beside = await Cluster.beside(cluster, inDatabase);
    const { token, id } = await newToken(beside);
    await cluster.startAgent("worker-2", token).event("registered");
    expect(await beside.startAgent("thief", token).exited).toBe(77);
    expect((await tokenState(beside, id)).usedCount).toBe(1);

    await server.kill();
    await server.restart();
    cluster.controlPlane.kill();
    await cluster.controlPlane.exited;
    await cluster.startControlPlane();
    await cluster.joinNode("worker-3");
    const nodes = await eventually(
      () => beside.nodes(),
      (all) => all.length === 3 && all.every(({ status }) => status === "Ready"),
    );
    expect(nodes.map(({ name }) => name)).toEqual(["worker-1", "worker-2", "worker-3"]);
  });
});

for (const kind of ["postgres", "mariadb"] as const) {
  suiteThatNeeds([kind], `${kind}: a client that dies`, () => {
    test("what kill -9 of a writer leaves is all that it was told is stored, and no lock", async () => {
      await using server = await startSqlServer(kind satisfies SqlServerKind);
      const url = await server.newDatabase();
      const promised: string[] = [];
      for (const name of ["first", "second", "third"]) promised.push(...(await killedWriter(url, name)));
      await using storage = await openSqlStorage({ url, clock: systemClock, logger: silentLogger });
      const before = performance.now();
      const { succeeded, revision } = await storage.transaction(
        [],
        [{ type: "delete", key: promised[0] ?? "" }],
      );
      expect(succeeded).toBe(true);
      expect(performance.now() - before).toBeLessThan(5000);
      const stored = new Map<string, number>();
      for await (const page of pagesOf(storage, "")) {
        for (const { key, modRevision } of page) stored.set(key, modRevision);
      }
      expect(promised.slice(1).filter((key) => !stored.has(key))).toEqual([]);
      // Every write was a revision of its own, and none is missing.
      expect(new Set(stored.values()).size).toBe(revision - 2);
    });
  });
}

/** Run a writer until it stored some 300 keys, kill it, and give the keys that it said are stored. */
async function killedWriter(url: string, name: string): Promise<readonly string[]> {
  const lines = await linesUntilKilled(WRITER, [url, name], 30);
  const keys = lines.flatMap((line) => line.split(" "));
  expect(keys.length).toBeGreaterThanOrEqual(300);
  return keys;
}
