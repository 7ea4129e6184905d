import { X509Certificate } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { requestCertificate } from "@rk8s/agent";
import { ALPN, SERVER_NAME } from "@rk8s/protocol";
import { encodePem } from "@rk8s/x509";
import { expect, test } from "vitest";
import { askRks, newToken } from "./harness/ask-rks.js";
import { assertDone, Cluster } from "./harness/cluster.js";
import { Forger } from "./harness/forger.js";
import { eventually } from "./harness/eventually.js";
import { LiveAgent } from "./harness/live-agent.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { answerRequest, OfflinePlace, putIn } from "./harness/offline-root.js";
import { runOutside } from "./harness/outside-program.js";
import { transport } from "./harness/raw-agent.js";
import { renewUnderFire } from "./harness/renewal-story.js";
import { caStatus, caStep, followed } from "./harness/root-rotation.js";

/** A place with a root in a folder of the cluster's. */
async function aPlace(folder: string, name = "offline"): Promise<OfflinePlace> {
  const place = join(folder, name);
  await mkdir(place, { recursive: true });
  return OfflinePlace.make(place);
}

/** A cluster that begins below an offline root. */
async function anOfflineCluster(): Promise<{ readonly cluster: Cluster; readonly place: OfflinePlace }> {
  const cluster = await Cluster.create({ certificates: { root_key: "offline", node_ttl: "1h" } });
  try {
    const place = await aPlace(cluster.folder);
    const early = await cluster.rks(["start", "--config", cluster.configFile]);
    expect([early.status, early.stderr]).toEqual([78, expect.stringContaining("rks gen certs")]);
    await answerRequest(cluster, (csr) => place.sign(csr));
    assertDone(await cluster.rks(["gen", "certs", "--config", cluster.configFile]));
    await cluster.startControlPlane();
    return { cluster, place };
  } catch (error) {
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
}

/** The chain that the control plane presents over QUIC. */
async function serverChain({ address }: Cluster): Promise<readonly X509Certificate[]> {
  const [host, port] = address.split(":");
  const target = { host: host!, port: Number(port), alpn: ALPN, serverName: SERVER_NAME };
  return (await transport.probe(target)).map((der) => new X509Certificate(der));
}

/** What `openssl verify` says of the first certificate, with the others beside it and the root alone trusted. */
async function opensslVerify(
  cluster: Cluster,
  [leaf, ...others]: readonly Uint8Array[],
  root: string,
): Promise<string> {
  const pem = (der: Uint8Array): string => encodePem("CERTIFICATE", der);
  await writeFile(join(cluster.folder, "leaf.pem"), pem(leaf!));
  await writeFile(join(cluster.folder, "others.pem"), others.map(pem).join(""));
  const args = ["verify", "-x509_strict", "-CAfile", root, "-untrusted", "others.pem", "leaf.pem"];
  const { stdout, stderr } = await runOutside("openssl", args, { cwd: cluster.folder });
  return (stdout + stderr).trim();
}

test("when an intermediate has ended while rks was down, a file in the vault folder brings it back", async () => {
  await using cluster = await Cluster.create({ certificates: { root_key: "offline" } });
  const root = Forger.foreign("offline root");
  await answerRequest(cluster, (request) => root.signRequest(request));
  assertDone(await cluster.rks(["gen", "certs", "--config", cluster.configFile]));
  await cluster.startControlPlane();
  await cluster.joinNode("worker-1");

  const { csr } = (await askRks(cluster, "POST", "/v1/rk8s/ca/csr", {})) as { csr: string };
  await caStep(cluster, "renew", { certificates: root.signRequest(csr, 4_000) });
  const end = performance.now() + 4_000;
  expect((await caStatus(cluster)).warnings).toEqual([expect.stringContaining("rks ca csr")]);
  await cluster.controlPlane.stop();
  await sleep(Math.max(0, end + 1_000 - performance.now()));
  const failed = await cluster.rks(["start", "--config", cluster.configFile]);
  expect([failed.status, failed.stderr]).toEqual([77, expect.stringContaining("intermediate.pem")]);
  await answerRequest(cluster, (request) => root.signRequest(request));
  await cluster.startControlPlane();
  expect(await readdir(cluster.vaultFolder)).not.toContain("intermediate.pem");
  await eventually(
    () => cluster.nodes(),
    ([node]) => node?.status === "Ready",
  );
});

suiteThatNeeds(["openssl"], "an offline root", () => {
  test("rks serves below it from the beginning: joins, renewal, HTTPS, restart, and openssl agrees", async () => {
    const { cluster: made, place } = await anOfflineCluster();
    await using cluster = made;
    expect(await readFile(cluster.rootCertPath, "utf8")).toBe(await readFile(place.rootFile, "utf8"));
    const chain = await serverChain(cluster);
    expect(chain.map(({ ca }) => ca)).toEqual([false, true, true]);
    expect(chain[2]!.raw.equals(new X509Certificate(await readFile(place.rootFile)).raw)).toBe(true);
    expect(
      await opensslVerify(
        cluster,
        chain.map(({ raw }) => raw),
        place.rootFile,
      ),
    ).toBe("leaf.pem: OK");

    const byPin = await cluster.joinNode("by-pin", { rootCertPath: false });
    const byFile = await cluster.joinNode("by-file");
    const https = ["-sS", "--cacert", cluster.rootCertPath, `${cluster.httpAddress}/readyz`];
    expect((await runOutside("curl", ["-o", "/dev/null", "-w", "%{http_code}", ...https])).stdout).toBe(
      "200",
    );

    const { token: joinToken } = await newToken(cluster);
    const options = { rksAddress: cluster.address, joinToken, nodeName: "own-agent" };
    using identity = await requestCertificate(options);
    expect(identity.certificateChain).toHaveLength(2);
    expect(await opensslVerify(cluster, identity.certificateChain, place.rootFile)).toBe("leaf.pem: OK");

    await putIn(cluster, place);
    for (const name of ["by-pin", "by-file"]) {
      assertDone(await cluster.rks(["node", "renew", name, "--config", cluster.configFile]));
    }
    for (const agent of [byPin, byFile]) await agent.event("renewed");
    const status = await caStatus(cluster);
    expect(status).toMatchObject({ phase: "steady", generation: 0, withOldCertificate: [] });

    await cluster.controlPlane.stop();
    await cluster.startControlPlane();
    await eventually(
      () => cluster.nodes(),
      (nodes) => nodes.filter(({ status: state }) => state === "Ready").length === 2,
    );
  });

  test("new intermediates come and go while agents run, and no request fails", async () => {
    let puts = 0;
    const outcome = await renewUnderFire({
      certificates: { root_key: "offline", node_ttl: "10s", server_ttl: "10s" },
      seconds: 14,
      prepare: async (cluster) => {
        const place = await aPlace(cluster.folder);
        await answerRequest(cluster, (csr) => place.sign(csr));
        assertDone(await cluster.rks(["gen", "certs", "--config", cluster.configFile]));
        return async () => {
          await putIn(cluster, place);
          if (++puts === 2) await caStep(cluster, "taint");
        };
      },
      everySeconds: 4,
    });
    expect(puts).toBeGreaterThanOrEqual(2);
    expect(outcome).toMatchObject({ failures: [], missedLines: [], agentEvents: [], followerLived: true });
    expect(outcome.generations).toBeGreaterThanOrEqual(2);
  });

  test("a running cluster moves below it in the phases of a rotation, and from there to another one", async () => {
    await using cluster = await Cluster.start();
    const first = await aPlace(cluster.folder, "first");
    const second = await aPlace(cluster.folder, "second");
    const agent = await cluster.joinNode("worker-1");
    const joins = async (name: string, joinToken: string): Promise<void> => {
      await using _ = await LiveAgent.join({ rksAddress: cluster.address, joinToken, nodeName: name });
      await askRks(cluster, "POST", `/v1/rk8s/nodes/${name}/evict`, {});
    };
    let { token } = await newToken(cluster, { uses: 20, ttlSeconds: 3600 });
    for (const [place, more] of [
      [first, ""],
      [second, await first.crossSign(second)],
    ] as const) {
      const name = place === first ? "a" : "b";
      const old = await readFile(cluster.rootCertPath, "utf8");
      await putIn(cluster, place, "prepare", more);
      await joins(`${name}-prepared`, token);
      await caStep(cluster, "activate");
      await joins(`${name}-activated`, token);
      await joins(`${name}-new`, (await newToken(cluster)).token);
      await followed(cluster);
      const chain = (await serverChain(cluster)).map(({ raw }) => raw);
      expect(chain).toHaveLength(5);
      const oldFile = join(cluster.folder, "old-root.pem");
      await writeFile(oldFile, old);
      for (const root of [oldFile, place.rootFile]) {
        expect(await opensslVerify(cluster, chain, root)).toBe("leaf.pem: OK");
      }
      ({ token } = await newToken(cluster, { uses: 20, ttlSeconds: 3600 }));
      await caStep(cluster, "retire");
      await joins(`${name}-retired`, token);
    }
    expect(agent.isRunning).toBe(true);
    expect(agent.lines.filter(({ event }) => event === "disconnected")).toEqual([]);
    expect(await readFile(cluster.rootCertPath, "utf8")).toBe(await readFile(second.rootFile, "utf8"));
  });
});
