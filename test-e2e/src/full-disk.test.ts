import { type Agent, type AgentEvent, createAgent } from "@rk8s/agent";
import { RksError } from "@rk8s/protocol";
import { describe, expect, test } from "vitest";
import { clusterState, newToken, tokenState } from "./harness/ask-rks.js";
import { Cluster } from "./harness/cluster.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { type Application, join } from "./harness/raw-agent.js";
import { aKey, aRequest } from "./harness/raw-request.js";
import { type FileSystem, SmallDisk } from "./harness/small-disk.js";

/** Codes that say "try again when the disk is well". */
const DISK_CODES = ["STORAGE_FULL", "STORAGE_UNWRITABLE", "AUDIT_UNWRITABLE"];
/** What was allocated before takes a few joins more after the last free block is gone. */
const ENOUGH = 60;

/** A cluster whose vault folder is a small disk. Dispose the cluster first. */
async function onSmallDisk(type: FileSystem): Promise<{ cluster: Cluster; disk: SmallDisk }> {
  const disks: SmallDisk[] = [];
  try {
    const cluster = await Cluster.start(
      {},
      {
        onFolder: async (folder) => void disks.push(await SmallDisk.mount(folder, type)),
      },
    );
    return { cluster, disk: disks[0]! };
  } catch (error) {
    await disks[0]?.[Symbol.asyncDispose]();
    throw error;
  }
}

async function withSmallDisk(
  type: FileSystem,
  story: (cluster: Cluster, disk: SmallDisk) => Promise<void>,
): Promise<void> {
  const { cluster, disk } = await onSmallDisk(type);
  try {
    await story(cluster, disk);
  } finally {
    await cluster.controlPlane[Symbol.asyncDispose]();
    await disk[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
  }
}

/** An application with its token. */
interface Applicant {
  readonly asked: Application;
  readonly id: string;
}

async function someApplicants(cluster: Cluster): Promise<Applicant[]> {
  const tokens = await Promise.all(Array.from({ length: ENOUGH }, () => newToken(cluster)));
  return tokens.map(({ token, id }, i) => ({
    asked: { token, csr: aRequest({ key: aKey() }), nodeName: `worker-${i}` },
    id,
  }));
}

/** A join that the disk refused, and whether it was committed already and only its record was refused. */
interface RefusedJoin extends Applicant {
  readonly isCommitted: boolean;
}

/** Join one by one until the disk refuses one before anything is committed. */
async function joinUntilRefused(
  cluster: Cluster,
  applicants: readonly Applicant[],
): Promise<readonly RefusedJoin[]> {
  const refused: RefusedJoin[] = [];
  for (const applicant of applicants) {
    const error = await join(cluster, applicant.asked).then(
      () => undefined,
      (reason: unknown) => RksError.from(reason),
    );
    if (error === undefined) continue;
    expect(DISK_CODES).toContain(error.code);
    expect(error.retryable).toBe(true);
    expect(error.suggestion).toBeDefined();
    const isCommitted = (await tokenState(cluster, applicant.id)).usedCount === 1;
    refused.push({ ...applicant, isCommitted });
    if (!isCommitted) return refused;
  }
  throw new Error(`the disk took all of ${ENOUGH} joins`);
}

/** Make tokens until the disk refuses one; a token takes less space than a join. */
async function mintUntilRefused(cluster: Cluster): Promise<string> {
  for (let made = 0; made < ENOUGH; made++) {
    const error = await newToken(cluster).then(
      () => undefined,
      (reason: unknown) => RksError.from(reason),
    );
    if (error !== undefined) return error.code;
  }
  throw new Error(`the disk took all of ${ENOUGH} tokens`);
}

/** Every refused one asks again, with the same token and key, and joins; what was committed is what it gets. */
async function expectJoins(cluster: Cluster, refused: readonly RefusedJoin[]): Promise<void> {
  for (const { asked, id, isCommitted } of refused) {
    const { nodes: before } = await clusterState(cluster);
    const committed = before.find(({ name }) => name === asked.nodeName);
    expect(committed === undefined).toBe(!isCommitted);
    const { serialNumber } = await join(cluster, asked);
    expect(serialNumber).toBe(committed?.serial ?? serialNumber);
    expect(await tokenState(cluster, id)).toMatchObject({ status: "used", usedCount: 1 });
  }
}

/** Longer than the names of the others, so that no record of it fits where theirs did not. */
const PATIENT = "a-worker-that-is-patient";

function anAgent(cluster: Cluster, token: string): Promise<Agent> {
  const { address: rksAddress, rootCertPath } = cluster;
  return createAgent({ rksAddress, rootCertPath, joinToken: token, nodeName: PATIENT });
}

async function untilRegistered(events: AsyncIterator<AgentEvent, undefined>): Promise<void> {
  for (;;) {
    const { value } = await events.next();
    if (value === undefined || value.event === "error") throw new Error("the agent gave up");
    if (value.event === "registered") return;
  }
}

suiteThatNeeds(["linux", "root", "loop mounts", "mkfs.ext4"], "an rks whose disk", () => {
  describe.each(["tmpfs", "ext4"] as const)("is full (%s)", (type) => {
    test("refuses joins for now, burns no token, and takes them once there is space", async () => {
      await withSmallDisk(type, async (cluster, disk) => {
        const patient = await newToken(cluster);
        const applicants = await someApplicants(cluster);
        await disk.fill();
        const refused = await joinUntilRefused(cluster, applicants);

        // An agent keeps trying, and an operator is told to come back.
        await using agent = await anAgent(cluster, patient.token);
        const events = agent.events()[Symbol.asyncIterator]();
        expect((await events.next()).value).toMatchObject({ event: "reconnecting" });
        expect(DISK_CODES).toContain(await mintUntilRefused(cluster));
        const minted = await cluster.rks(["gen", "join-token", "--config", cluster.configFile, "--json"]);
        expect(minted.status).toBe(75);
        const { error } = JSON.parse(minted.stdout) as { error: { code: string; retryable: boolean } };
        expect(DISK_CODES).toContain(error.code);
        expect(error.retryable).toBe(true);
        expect(await tokenState(cluster, patient.id)).toMatchObject({ status: "usable", usedCount: 0 });

        await disk.free();

        await expectJoins(cluster, refused);
        await untilRegistered(events);
        expect(await tokenState(cluster, patient.id)).toMatchObject({ status: "used", usedCount: 1 });
      });
    });

    test("does not start, says so with exit 75, and starts once there is space", async () => {
      await withSmallDisk(type, async (cluster, disk) => {
        cluster.controlPlane.kill("SIGKILL");
        await cluster.controlPlane.exited;
        await disk.fill();
        const start = await cluster.rks(["start", "--config", cluster.configFile, "--json"]);
        expect(start.status).toBe(75);
        expect(start.stderr).toContain("hint:");

        await disk.free();

        await cluster.startControlPlane();
        const { token } = await newToken(cluster);
        await join(cluster, { token, csr: aRequest({ key: aKey() }), nodeName: "worker-1" });
      });
    });
  });

  test("fails under its feet refuses joins for now, and takes the same tokens once it is repaired", async () => {
    await withSmallDisk("ext4", async (cluster, disk) => {
      const [applicant] = await someApplicants(cluster);
      await disk.fail();

      const refused = await join(cluster, applicant!.asked).catch((reason: unknown) => RksError.from(reason));
      expect(refused).toBeInstanceOf(RksError);
      expect(DISK_CODES).toContain((refused as RksError).code);
      expect(await tokenState(cluster, applicant!.id)).toMatchObject({ status: "usable", usedCount: 0 });
      const minted = await cluster.rks(["gen", "join-token", "--config", cluster.configFile]);
      expect(minted.status).toBe(75);

      cluster.controlPlane.kill("SIGKILL");
      await cluster.controlPlane.exited;
      await disk.repair();
      await cluster.startControlPlane();
      await expectJoins(cluster, [{ ...applicant!, isCommitted: false }]);
    });
  });

  test("is read-only does not start, says so with exit 75, and takes the same token later", async () => {
    await withSmallDisk("ext4", async (cluster, disk) => {
      const [applicant] = await someApplicants(cluster);
      await cluster.controlPlane.stop();
      await disk.setReadOnly(true);
      const start = await cluster.rks(["start", "--config", cluster.configFile, "--json"]);
      expect(start.status).toBe(75);

      await disk.setReadOnly(false);

      await cluster.startControlPlane();
      await expectJoins(cluster, [{ ...applicant!, isCommitted: false }]);
    });
  });
});
