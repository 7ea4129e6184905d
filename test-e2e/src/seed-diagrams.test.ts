import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { EtcdMember } from "@rk8s/storage/testing/etcd";
import { expect, test } from "vitest";
import { tokenState } from "./harness/ask-rks.js";
import { assertDone, Cluster, type MintedToken } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { runOutside } from "./harness/outside-program.js";
import { ownEtcdPlaces, startOwnEtcd } from "./harness/own-etcd.js";
import { SteadyJoins } from "./harness/steady-joins.js";
import { storageStatus, whenStoredIn } from "./harness/storage-status.js";

const PREFIX = "/rk8s";
const MEMBER_FILES = "ca.pem client.key client.pem peer.key peer.pem server.key server.pem".split(" ");

// Steps are numbered as in seed 001: I1 to I18 of "RKS initialization", N1 to N14 of "RKL Node join".
suiteThatNeeds(
  ["etcd", "openssl"],
  "both diagrams of the seeds, on three etcd members with mutual TLS",
  () => {
    test("from gen pems to nodes Ready: the vault moves while agents join, and is served from etcd after a restart", async () => {
      const places = await ownEtcdPlaces(3);
      const endpoints = places.map(({ clientUrl }) => clientUrl);

      // N1-N4: a vault in a folder makes the root, the certificates of rks and those of the store, which are written out.
      const config = { xline_config: { endpoints, prefix: PREFIX } };
      await using cluster = await Cluster.create(config, { gen: "pems" });
      await expectMemberFiles(cluster, endpoints);

      // N5, N6: rks serves from that vault; the store does not run yet, and nobody has to wait for it.
      await cluster.startControlPlane();
      expect((await storageStatus(cluster)).type).toBe("local");
      const first = await joinAsDrawn(cluster, "worker-1");
      await expectStrangersRootRefused(cluster);

      // N7-N12, and I1-I18 again and again meanwhile.
      await using joins = await SteadyJoins.start(cluster);
      await eventually(
        () => Promise.resolve(joins.names.length),
        (count) => count > 0,
      );
      const atBegin = joins.names.length;
      const members = await startOwnEtcd(places, cluster.vaultFolder, join(cluster.folder, "etcd"));
      await using _ = { [Symbol.asyncDispose]: () => killAll(members) };
      const [{ migration }] = await Promise.all([
        whenStoredIn(cluster, "etcd"),
        joinAsDrawn(cluster, "worker-2"),
        joinAsDrawn(cluster, "worker-3", ["--cidr", "127.0.0.0/8"]),
      ]);
      const atEnd = joins.names.length;
      await eventually(
        () => Promise.resolve(joins.names.length),
        (count) => count > atEnd + 2,
      );
      await joins.stop();
      process.stdout.write(
        `the vault moved with writes held back for ${Math.round(migration?.pausedMs ?? NaN)} ms; ` +
          `${atEnd - atBegin} agents joined meanwhile, ${joins.names.length} in all\n`,
      );
      expect(atEnd - atBegin).toBeGreaterThan(0);
      await expectEncryptedAt(members[1]!, cluster);

      // N13, N14: the cluster is ready, and stays so when rks is started anew and a member of the store is gone.
      const names = ["worker-1", "worker-2", "worker-3", ...joins.names];
      await expectAllReady(cluster, names);
      await cluster.controlPlane.stop();
      await cluster.startControlPlane();
      expect((await storageStatus(cluster)).type).toBe("etcd");
      expect(await readdir(cluster.vaultFolder)).not.toContain("store");
      await members[0]!.kill();
      await joinAsDrawn(cluster, "worker-4");
      await expectAllReady(cluster, [...names, "worker-4"]);
      assertDone(await cluster.rks(["storage", "verify", "--config", cluster.configFile]));

      // The token that let the first node in before there was a store lets nobody in now.
      expect(await cluster.startAgent("thief", first.token).exited).toBe(77);
      expect(await tokenState(cluster, first.id)).toMatchObject({ status: "used", usedCount: 1 });
    });
  },
);

/**
 * "RKS initialization": the administrator has rks write token and root into files (I1-I5), brings them to the node (I6), and
 * the node joins with them (I7-I18).
 */
async function joinAsDrawn(
  cluster: Cluster,
  name: string,
  options: readonly string[] = [],
): Promise<MintedToken> {
  const out = join(cluster.folder, `for-${name}`);
  const minted = await cluster.mintToken(["--node", name, "--out", out, ...options]);
  const token = (await readFile(join(out, "join.token"), "utf8")).trim();
  const agent = cluster.startAgent(name, token, { rootCertPath: join(out, "root.pem") });
  await agent.event("joined");
  await agent.event("registered");
  // I18: neither certificate nor key is on the node's disk.
  const files = await readdir(join(cluster.folder, name), { recursive: true, withFileTypes: true });
  for (const file of files.filter((entry) => entry.isFile())) {
    const text = await readFile(join(file.parentPath, file.name), "latin1");
    expect(text).not.toMatch(/BEGIN (CERTIFICATE|PRIVATE KEY)/);
  }
  return { ...minted, token };
}

/** I8-I10: a node that was given another root does not send its token to this rks. */
async function expectStrangersRootRefused(cluster: Cluster): Promise<void> {
  const root = join(cluster.folder, "other-root.pem");
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null"];
  assertDone(await runOutside("openssl", ["req", "-x509", ...key, "-subj", "/CN=other", "-out", root]));
  const { token, id } = await cluster.mintToken();
  const agent = cluster.startAgent("astray", token, { rootCertPath: root });
  expect(await agent.event("error")).toMatchObject({ code: "CA_PIN_MISMATCH" });
  expect((await tokenState(cluster, id)).usedCount).toBe(0);
}

async function expectMemberFiles(cluster: Cluster, endpoints: readonly string[]): Promise<void> {
  for (const endpoint of endpoints) {
    const folder = join(cluster.vaultFolder, `xline-localhost-${new URL(endpoint).port}`);
    expect((await readdir(folder)).toSorted()).toEqual(MEMBER_FILES);
    for (const name of MEMBER_FILES.filter((file) => file.endsWith(".key"))) {
      expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
    }
  }
}

/** What a member of the store has, asked with its own certificate: keys of the vault, of which no value says whose it is; and nothing without. */
async function expectEncryptedAt({ clientUrl }: EtcdMember, cluster: Cluster): Promise<void> {
  const folder = join(cluster.vaultFolder, `xline-localhost-${new URL(clientUrl).port}`);
  const ca = ["--endpoints", clientUrl, "--cacert", join(folder, "ca.pem")];
  const own = ["--cert", join(folder, "client.pem"), "--key", join(folder, "client.key")];
  const get = ["get", "--prefix", PREFIX, "--command-timeout", "3s"];
  const options = { env: { ETCDCTL_API: "3" } };
  const { stdout } = assertDone(await runOutside("etcdctl", [...ca, ...own, ...get], options));
  expect(stdout).toContain(`${PREFIX}/d/storage/state`);
  expect(stdout).not.toMatch(/BEGIN CERT|PRIVATE KEY|spiffe:/);
  expect((await runOutside("etcdctl", [...ca, ...get], options)).status).not.toBe(0);
}

async function expectAllReady(cluster: Cluster, names: readonly string[]): Promise<void> {
  const nodes = await eventually(
    () => cluster.nodes(),
    (all) => all.every(({ status }) => status === "Ready"),
  );
  expect(nodes.map(({ name }) => name).toSorted()).toEqual(names.toSorted());
}

async function killAll(members: readonly EtcdMember[]): Promise<void> {
  await Promise.all(members.map((member) => member.kill()));
}
