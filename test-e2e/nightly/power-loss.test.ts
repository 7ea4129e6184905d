import { readFile, writeFile } from "node:fs/promises";
import { join as joinPath } from "node:path";
import type { Message } from "@rk8s/protocol";
import { parseCertificate } from "@rk8s/x509";
import { expect, test } from "vitest";
import { clusterState, newToken } from "../src/harness/ask-rks.js";
import { Cluster } from "../src/harness/cluster.js";
import { suiteThatNeeds } from "../src/harness/needs.js";
import { type Application, join } from "../src/harness/raw-agent.js";
import { aKey, aRequest } from "../src/harness/raw-request.js";
import { UdpRelay } from "../src/harness/udp-relay.js";
import { LoopDisk } from "./loop-disk.js";

const CUTS = 8;
const JOINS_PER_CUT = 60;
const AT_A_TIME = 8;

/** Somebody who wants to join, and what came of it. */
interface Applicant {
  readonly name: string;
  readonly tokenId: string;
  readonly asked: Application;
  /** Present once rks has answered. */
  certificate?: Message<"Certificate">;
}

suiteThatNeeds(["linux", "root", "mkfs.ext4", "loop mounts"], "power loss", () => {
  test("after every power cut all that rks acknowledged is there, nothing is half there and no token is burnt", async () => {
    await withDisk(async (cluster, disk) => {
      const everybody: Applicant[] = [];
      let cutInTheMiddle = 0;
      for (let cut = 0; cut < CUTS; cut++) {
        const applicants = await someApplicants(cluster, cut);
        everybody.push(...applicants);
        const untilCut = Math.floor(Math.random() * (JOINS_PER_CUT - AT_A_TIME)) + 1;
        await joinUntil(cluster, applicants, untilCut, () => cluster.controlPlane.kill("SIGSTOP"));
        await writeFile(joinPath(disk.path, "not-synchronised"), "x".repeat(100_000));
        await disk.cutPower(async () => {
          cluster.controlPlane.kill("SIGKILL");
          await cluster.controlPlane.exited;
        });
        // The disk really forgets, or the rest proves nothing.
        expect(await contentOf(disk, "not-synchronised")).toBe("");
        await cluster.startControlPlane();

        if (applicants.some(({ certificate }) => certificate === undefined)) cutInTheMiddle += 1;
        await assertWhole(cluster, everybody);
        await assertAudited(cluster, everybody);
        for (const applicant of everybody.slice(-JOINS_PER_CUT)) await askAgain(cluster, applicant);
      }
      expect(cutInTheMiddle).toBeGreaterThan(0);
      await assertWhole(cluster, everybody);
      expect((await clusterState(cluster)).nodes).toHaveLength(CUTS * JOINS_PER_CUT);
    });
  });
});

async function withDisk(story: (cluster: Cluster, disk: LoopDisk) => Promise<void>): Promise<void> {
  const disks: LoopDisk[] = [];
  try {
    const onFolder = async (folder: string): Promise<void> => void disks.push(await LoopDisk.mount(folder));
    await using cluster = await Cluster.start({}, { onFolder });
    try {
      await story(cluster, disks[0]!);
    } finally {
      await cluster.controlPlane[Symbol.asyncDispose]();
      await disks[0]?.[Symbol.asyncDispose]();
    }
  } finally {
    await disks[0]?.[Symbol.asyncDispose]();
  }
}

async function someApplicants(cluster: Cluster, cut: number): Promise<Applicant[]> {
  return Promise.all(
    Array.from({ length: JOINS_PER_CUT }, async (_, i) => {
      const name = `worker-${cut}-${i}`;
      const { token, id } = await newToken(cluster, { node: name });
      return { name, tokenId: id, asked: { token, csr: aRequest({ key: aKey() }), nodeName: name } };
    }),
  );
}

/**
 * Join several at a time; the moment so many are acknowledged, `stop`. What is under way then gets no answer, and
 * nothing of it reaches the next rks.
 */
async function joinUntil(
  cluster: Cluster,
  applicants: readonly Applicant[],
  acknowledged: number,
  stop: () => void,
): Promise<void> {
  await using relay = await UdpRelay.open(cluster.address);
  const waiting = [...applicants];
  let stopped: (() => void) | undefined;
  const over = new Promise<void>((resolve) => (stopped = resolve));
  let count = 0;
  const joinNext = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined && count < acknowledged; next = waiting.shift()) {
      next.certificate = await join(cluster, next.asked, { address: relay.address });
      count += 1;
      if (count < acknowledged) continue;
      stop();
      stopped?.();
    }
  };
  const workers = Array.from({ length: AT_A_TIME }, () => joinNext().catch(() => undefined));
  await Promise.race([over, Promise.all(workers)]);
  expect(count).toBeGreaterThanOrEqual(acknowledged);
}

async function contentOf(disk: LoopDisk, name: string): Promise<string> {
  return readFile(joinPath(disk.path, name), "utf8").catch(() => "");
}

/** Acknowledged: token used once, by its node, which has the certificate. Not acknowledged: all of that or nothing. */
async function assertWhole(cluster: Cluster, everybody: readonly Applicant[]): Promise<void> {
  const { nodes, tokens } = await clusterState(cluster);
  const serials = new Map(nodes.map(({ name, serial }) => [name, serial]));
  const uses = new Map(tokens.map(({ id, usedBy }) => [id, usedBy.map(({ node }) => node)]));
  for (const { name, tokenId } of everybody) {
    expect(uses.get(tokenId)).toEqual(serials.has(name) ? [name] : []);
  }
  for (const { name, certificate } of everybody.filter(isAcknowledged)) {
    expect(serials.get(name)).toBe(serialOf(certificate));
  }
}

/** Every certificate that was handed out is in the audit log, and every line of it is whole. */
async function assertAudited(cluster: Cluster, everybody: readonly Applicant[]): Promise<void> {
  const log = await readFile(joinPath(cluster.vaultFolder, "audit.log"), "utf8");
  const lines = log.trimEnd().split("\n");
  for (const line of lines) expect(() => JSON.parse(line) as unknown).not.toThrow();
  for (const { certificate } of everybody.filter(isAcknowledged)) {
    expect(log).toContain(serialOf(certificate));
  }
}

/** The same key asks again, within the time in which rks remembers: same bytes, or now for the first time. */
async function askAgain(cluster: Cluster, applicant: Applicant): Promise<void> {
  const again = await join(cluster, applicant.asked);
  expect(again.leaf).toEqual(applicant.certificate?.leaf ?? again.leaf);
  applicant.certificate = again;
}

function isAcknowledged(
  applicant: Applicant,
): applicant is Applicant & { certificate: Message<"Certificate"> } {
  return applicant.certificate !== undefined;
}

function serialOf({ leaf }: Message<"Certificate">): string {
  return parseCertificate(leaf).serialNumber;
}
