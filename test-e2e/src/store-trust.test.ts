import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { decodePemCertificates } from "@rk8s/x509";
import { expect, test } from "vitest";
import { metric, newToken } from "./harness/ask-rks.js";
import { assertDone, Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { GrowingEtcd } from "./harness/growing-etcd.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { ownEtcdPlaces } from "./harness/own-etcd.js";
import { caStatus, caStep } from "./harness/root-rotation.js";
import { storageStatus, whenStoredIn } from "./harness/storage-status.js";

/** A member follows when somebody has made it new certificates and has started it with them. */
async function bringCertificates(cluster: Cluster): Promise<void> {
  assertDone(await cluster.rks(["gen", "xline-certs", "--config", cluster.configFile]));
}

async function untilNobodyIsBehind(cluster: Cluster): Promise<void> {
  await eventually(
    () => caStatus(cluster),
    ({ storeMembersBehind }) => storeMembersBehind.length === 0,
  );
}

/** Until rks trusts one root alone, and shows a certificate of that one. */
async function untilFollowed({ rootCertPath, vaultFolder }: Cluster, number: number): Promise<void> {
  const issuer = `CN=rk8s cluster root ${number}`;
  await eventually(
    async () => ({
      roots: decodePemCertificates(await readFile(rootCertPath)),
      own: new X509Certificate(
        decodePemCertificates(await readFile(join(vaultFolder, "xline-client.pem")))[0]!,
      ),
    }),
    ({ roots, own }) =>
      roots.length === 1 && new X509Certificate(roots[0]!).subject === issuer && own.issuer === issuer,
  );
}

suiteThatNeeds(["etcd"], "roots that go while members of the store have their certificates", () => {
  test("retire waits for the members, a taint does not, and after either rks finds its store again", async () => {
    const [place] = await ownEtcdPlaces(1);
    const endpoint = place!.clientUrl;
    const config = { xline_config: { endpoints: [endpoint], prefix: "/rk8s" } };
    await using cluster = await Cluster.create(config);
    await using etcd = new GrowingEtcd(cluster);
    await etcd.begin(place!);
    await cluster.startControlPlane();
    await whenStoredIn(cluster, "etcd");

    await caStep(cluster, "prepare");
    expect(await caStep(cluster, "activate")).toMatchObject({
      storeMembersBehind: [{ endpoint, code: "SERVER_UNTRUSTED" }],
    });
    await expect(caStep(cluster, "retire")).rejects.toMatchObject({
      code: "CA_PHASE_INVALID",
      message: expect.stringContaining(endpoint),
      suggestion: expect.stringContaining("rks gen xline-certs"),
    });
    await bringCertificates(cluster);
    // etcd reads its certificates for each connection, and its CA when it starts.
    expect(await caStatus(cluster)).toMatchObject({
      storeMembersBehind: [{ endpoint, code: "CLIENT_CERTIFICATE_REFUSED" }],
    });
    await expect(caStep(cluster, "retire")).rejects.toMatchObject({ code: "CA_PHASE_INVALID" });
    await etcd.restart(place!);
    await untilNobodyIsBehind(cluster);
    await using two = await Cluster.beside(cluster, config, { hostName: "two" });
    expect(await caStep(cluster, "retire")).toMatchObject({ phase: "steady", storeMembersBehind: [] });
    for (const rks of [two, cluster]) {
      await untilFollowed(rks, 2);
      await newToken(rks);
    }
    await two.controlPlane.stop();
    await cluster.controlPlane.stop();
    await cluster.startControlPlane();
    expect(await storageStatus(cluster)).toMatchObject({ type: "etcd", migration: null });
    const left = await eventually(
      () => metric(cluster, "rks_store_certificate_first_expiry_seconds"),
      (seconds) => seconds !== undefined,
    );
    expect(left! / 86_400).toBeCloseTo(90, 1);

    // The key is stolen: what goes on is the connection that there is, and the store is used until its members follow.
    await caStep(cluster, "prepare");
    expect(await caStep(cluster, "taint")).toMatchObject({
      phase: "tainted",
      storeMembersBehind: [{ endpoint, code: "SERVER_UNTRUSTED" }],
      warnings: [expect.stringContaining("rks gen xline-certs")],
    });
    await untilFollowed(cluster, 3);
    await newToken(cluster);
    await expect(caStep(cluster, "revoke")).rejects.toMatchObject({ code: "CA_PHASE_INVALID" });
    await bringCertificates(cluster);
    await etcd.restart(place!);
    await untilNobodyIsBehind(cluster);
    await newToken(cluster);

    // The other host was off meanwhile: neither side knows the other.
    const { status, stderr } = await two.rks(["start", "--config", two.configFile]);
    expect(status).toBe(77);
    expect(stderr).toContain("When rks and its store do not trust each other");
  });
});
