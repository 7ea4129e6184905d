import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startSqlServer } from "@rk8s/storage-sql/testing";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { clusterState, tokenState } from "./harness/ask-rks.js";
import { assertDone } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { MigrationStory, survivesKills } from "./harness/migration-story.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { whenStoredIn } from "./harness/storage-status.js";

suiteThatNeeds(["etcd"], "the store of a running control plane", () => {
  test("moves to etcd with mutual TLS while nodes join, and back, and nobody notices", async () => {
    await using story = await MigrationStory.begin();
    const { cluster } = story;
    await cluster.startControlPlane();
    const used = await cluster.mintToken();
    const first = cluster.startAgent("worker-1", used.token);
    await first.event("registered");
    await cluster.controlPlane.stop();
    await story.want("etcd");
    await cluster.startControlPlane();
    await Promise.all(["worker-2", "worker-3", "worker-4"].map((name) => cluster.joinNode(name)));
    expect((await whenStoredIn(cluster, "etcd")).migration?.pausedMs).toBeLessThan(2_000);
    await cluster.joinNode("worker-5");
    const again = cluster.startAgent("thief", used.token);
    expect(await again.exited).toBe(77);
    expect((await tokenState(cluster, used.id)).usedCount).toBe(1);
    const names = await readdir(cluster.vaultFolder);
    expect(names).not.toContain("store");
    expect(names.filter((name) => name.startsWith("store-backup-"))).toHaveLength(1);

    const { configFile: file } = cluster;
    assertDone(await cluster.rks(["storage", "verify", "--config", file]));
    assertDone(await cluster.rks(["storage", "migrate", "--to", "local", "--config", file]));
    await story.etcd.kill();
    await cluster.joinNode("worker-6");
    cluster.controlPlane.kill();
    await cluster.controlPlane.exited;
    await story.want("local");
    await cluster.startControlPlane();
    const nodes = await eventually(
      () => cluster.nodes(),
      (all) => all.every(({ status }) => status === "Ready"),
    );
    expect(nodes.map(({ name }) => name)).toEqual([1, 2, 3, 4, 5, 6].map((number) => `worker-${number}`));
  });

  // oxlint-disable-next-line vitest/expect-expect -- the story asserts
  test("is found whole after kill -9 at random moments of moves in both directions", async () => {
    await survivesKills(4, Math.random);
  });

  test("is restored from a backup on an empty host: nodes go on, open tokens do not, and everybody can see it", async () => {
    await using story = await MigrationStory.begin();
    const { cluster } = story;
    await cluster.startControlPlane();
    await cluster.joinNode("worker-1");
    const open = await cluster.mintToken();
    const backup = join(cluster.folder, "backup");
    assertDone(await cluster.rks(["storage", "backup", backup, "--config", cluster.configFile]));
    const thief = cluster.startAgent("worker-2", open.token);
    await thief.event("registered");
    await thief.stop();
    await cluster.controlPlane.stop();

    // Another host: the unseal keys and the backup are all that is left. It has the old one's address.
    const vaultFolder = join(cluster.folder, "other");
    await mkdir(vaultFolder);
    await copyFile(join(cluster.vaultFolder, "keys.json"), join(vaultFolder, "keys.json"));
    await cluster.configure({ tls_config: { vault_folder: vaultFolder } });
    assertDone(await cluster.rks(["storage", "restore", backup, "--config", cluster.configFile]));
    const other = { socket: join(vaultFolder, "rks.sock") };
    await cluster.startControlPlane();
    const { nodes, tokens } = await eventually(
      () => clusterState(other),
      (state) => state.nodes.length === 1,
    );
    expect(nodes[0]?.name).toBe("worker-1");
    expect(tokens.find(({ id }) => id === open.id)?.status).toBe("revoked");
    await eventually(
      () => cluster.nodes(),
      (all) => all[0]?.status === "Ready",
    );
    const again = cluster.startAgent("worker-3", open.token);
    expect(await again.exited).toBe(77);
    const status = await cluster.rks(["status", "--config", cluster.configFile]);
    expect(status.stdout).toMatch(/^restored +from the backup of /m);
    expect(await readFile(join(vaultFolder, "audit.log"), "utf8")).toContain('"operation":"storage.restore"');
  });
});

suiteThatNeeds(["etcd", "postgres"], "the store of a running control plane, with a database", () => {
  test("moves from its folder to etcd, from there to PostgreSQL, and back into its folder", async () => {
    await using server = await startSqlServer("postgres");
    await using story = await MigrationStory.begin();
    const { cluster } = story;
    const { configFile: file, folder } = cluster;
    await story.want("etcd");
    await cluster.startControlPlane();
    await whenStoredIn(cluster, "etcd");
    await cluster.joinNode("worker-1");
    const urlFile = join(folder, "database.url");
    await writeFile(urlFile, `${await server.newDatabase()}\n`, { mode: 0o600 });
    const config = parse(await readFile(file, "utf8")) as object;
    const other = join(folder, "sql.yaml");
    await writeFile(
      other,
      stringify({ ...config, xline_config: undefined, sql_config: { url_file: urlFile } }),
    );
    const moved = await cluster.rks(["storage", "migrate", "--to", other, "--config", file]);
    expect(moved).toMatchObject({ status: 0 });
    // The config that names the store that was left is refused; the one that names the database goes on.
    await cluster.controlPlane.stop();
    expect(await cluster.rks(["start", "--config", file])).toMatchObject({ status: 78 });
    await copyFile(other, file);
    await cluster.startControlPlane();
    const state = await clusterState(cluster);
    expect(state.nodes.map(({ name }) => name)).toEqual(["worker-1"]);
    assertDone(await cluster.rks(["storage", "migrate", "--to", "local", "--config", file]));
    assertDone(await cluster.rks(["storage", "verify", "--config", file]));
  });
});
