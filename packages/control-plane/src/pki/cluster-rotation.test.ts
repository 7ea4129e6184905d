import { X509Certificate } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage, type Storage } from "@rk8s/storage";
import { parseCertificate } from "@rk8s/x509";
import { expect, test } from "vitest";
import { aClusterCa } from "../join/testing/a-cluster-ca.js";
import type { ClusterCa } from "./cluster-ca.js";
import { ROTATION_STEPS, type RotationStep } from "./cluster-rotation.js";
import { phaseOf, trustedRoots } from "./cluster-roots.js";
import { serverChainOf, takeStep, verifies } from "./testing/rotating-ca.js";

const YEAR_SECONDS = 86_400 * 365;

class Subject {
  readonly clock = new FakeClock();
  readonly storage: Storage = memoryStorage();
  ca!: ClusterCa;

  static async make(): Promise<Subject> {
    const subject = new Subject();
    subject.ca = await aClusterCa(subject.storage, subject.clock);
    return subject;
  }

  take(step: RotationStep, rootTtlSeconds = YEAR_SECONDS): Promise<void> {
    return takeStep(this.ca, this.storage, step, { rootTtlSeconds });
  }

  async takeAll(steps: readonly RotationStep[]): Promise<void> {
    for (const step of steps) await this.take(step);
  }

  serverChain(): readonly X509Certificate[] {
    return serverChainOf(this.ca);
  }

  async keys(): Promise<readonly string[]> {
    const { entries } = await this.storage.list("logical/test/issuer/key");
    return entries.map(({ key }) => key.slice("logical/test/".length));
  }
}

test("a new root is trusted before it signs, and signs what those with the old root alone can verify", async () => {
  const subject = await Subject.make();
  const old = subject.ca.root;

  await subject.take("prepare");
  expect(subject.ca.root).toEqual(old);
  expect(subject.ca.trust()).toMatchObject({ generation: 1 });
  const [, incoming] = subject.ca.trust().bundle;
  expect(verifies(subject.serverChain(), old)).toBe(true);

  await subject.take("activate");
  expect(subject.ca.root).toEqual(incoming);
  expect(subject.ca.trust()).toMatchObject({ generation: 2, bundle: [incoming, old], refusedIssuers: [] });
  expect(verifies(subject.serverChain(), old)).toBe(true);
  expect(verifies(subject.serverChain(), incoming!)).toBe(true);

  await subject.take("retire");
  expect(subject.ca.trust()).toMatchObject({ generation: 3, bundle: [incoming] });
  // Who was away can still verify what it is told.
  expect(verifies(subject.serverChain(), old)).toBe(true);
  expect(subject.ca.clientRoots).toEqual([incoming, old]);
});

test("after a rollback whoever knows only the new root can verify the old one", async () => {
  const subject = await Subject.make();
  const old = subject.ca.root;
  await subject.takeAll(["prepare", "activate"]);
  const made = subject.ca.root;

  await subject.take("rollback");
  expect(subject.ca.root).toEqual(old);
  expect(verifies(subject.serverChain(), made)).toBe(true);
  expect(verifies(subject.serverChain(), old)).toBe(true);

  await subject.take("rollback");
  expect(subject.ca.trust()).toMatchObject({ generation: 4, bundle: [old] });
  expect(verifies(subject.serverChain(), made)).toBe(false);
  expect(await subject.keys()).toEqual(["issuer/key"]);
});

test.each([
  { name: "before the new root signs", steps: ["prepare", "taint"] },
  { name: "after it", steps: ["prepare", "activate", "taint"] },
] as const)("no path leads through a root that was tainted $name", async ({ steps }) => {
  const subject = await Subject.make();
  const old = subject.ca.root;
  await subject.takeAll(steps);
  expect(subject.ca.trust().bundle).toEqual([subject.ca.root]);
  expect(subject.serverChain()).toHaveLength(2);
  expect(verifies(subject.serverChain(), old)).toBe(false);
  // Nodes that it signed still come, to be signed anew.
  expect(subject.ca.clientRoots).toEqual([subject.ca.root, old]);
  await subject.take("revoke");
  expect(subject.ca.clientRoots).toEqual([subject.ca.root]);
});

test("the key of a root that left is gone from the store, and its successor's is used after a restart", async () => {
  const subject = await Subject.make();
  await subject.takeAll(["prepare", "activate"]);
  expect(await subject.keys()).toEqual(["issuer/key", "issuer/key/2"]);
  await subject.take("retire");
  expect(await subject.keys()).toEqual(["issuer/key/2"]);
  await subject.ca.reload();
  expect(verifies(subject.serverChain(), subject.ca.root)).toBe(true);
  await subject.takeAll(["prepare", "activate", "retire"]);
  expect(await subject.keys()).toEqual(["issuer/key/3"]);
});

test("what the cluster is known by stays the same, and roots have names of their own", async () => {
  const subject = await Subject.make();
  const { founder } = subject.ca;
  const names = [parseCertificate(subject.ca.root).subject.der];
  for (const step of ["prepare", "rollback", "prepare", "activate", "retire"] as const)
    await subject.take(step);
  names.push(parseCertificate(subject.ca.root).subject.der);
  expect(subject.ca.founder).toEqual(founder);
  expect(subject.ca.rootSpkiSha256).not.toEqual(founder);
  expect(subject.ca.roots.active.number).toBe(3);
  expect(new Set(names.map((name) => Buffer.from(name).toString("hex"))).size).toBe(2);
});

test("everything that a root signs lives within the root's own time, with roots of a minute", async () => {
  const subject = await Subject.make();
  await subject.take("prepare", 60);
  await subject.take("activate");
  const [leaf, cross] = subject.serverChain();
  const root = new X509Certificate(subject.ca.root);
  expect(Date.parse(leaf!.validTo)).toBeLessThanOrEqual(Date.parse(root.validTo));
  expect(Date.parse(cross!.validTo)).toBe(Date.parse(root.validTo));
  expect(Date.parse(leaf!.validFrom)).toBeGreaterThanOrEqual(Date.parse(root.validFrom));
  expect(Date.parse(cross!.validFrom)).toBeGreaterThanOrEqual(Date.parse(root.validFrom));
});

test("a cross-certificate whose time is over is not presented any more", async () => {
  const subject = await Subject.make();
  await subject.take("prepare", 2 * YEAR_SECONDS);
  await subject.take("activate");
  subject.clock.advance((YEAR_SECONDS + 1) * 1000);
  expect(subject.serverChain()).toHaveLength(2);
  await subject.take("retire");
  expect(subject.serverChain()).toHaveLength(2);
});

const REACHED: Readonly<Record<string, readonly RotationStep[]>> = {
  steady: [],
  prepared: ["prepare"],
  activated: ["prepare", "activate"],
  tainted: ["prepare", "taint"],
};
const POSSIBLE: Readonly<Record<string, readonly RotationStep[]>> = {
  steady: ["prepare"],
  prepared: ["activate", "rollback", "taint"],
  activated: ["retire", "rollback", "taint"],
  tainted: ["revoke"],
};

test.each(Object.keys(REACHED).map((phase) => ({ phase })))(
  "in phase $phase every other step is refused with the one that fits",
  async ({ phase }) => {
    const subject = await Subject.make();
    await subject.takeAll(REACHED[phase]!);
    expect(phaseOf(subject.ca.roots)).toBe(phase);
    for (const step of ROTATION_STEPS) {
      // That one is of offline roots alone.
      if (POSSIBLE[phase]!.includes(step) || step === "renew") continue;
      const error = catchError(() => subject.ca.prepareRotation(step, { rootTtlSeconds: 60 }));
      expect(error).toMatchObject({ code: "CA_PHASE_INVALID" });
      expect(error.message).toContain(`"${phase}"`);
      expect(error.suggestion).toMatch(/`rks ca /);
    }
  },
);

test("of two steps taken at the same time one is committed", async () => {
  const subject = await Subject.make();
  const changes = [1, 2].map(() => subject.ca.prepareRotation("prepare", { rootTtlSeconds: 3600 }));
  const done = await Promise.all(
    changes.map(async ({ comparisons, writes }) => subject.storage.transaction(comparisons, writes)),
  );
  expect(done.map(({ succeeded }) => succeeded)).toEqual([true, false]);
  await subject.ca.reload();
  expect(trustedRoots(subject.ca.roots)).toHaveLength(2);
});

test("a root without its key, and a record that is none, are damage", async () => {
  const subject = await Subject.make();
  await subject.takeAll(["prepare", "activate"]);
  const [key, record] = ["logical/test/issuer/key/2", "logical/test/roots"];
  await subject.storage.transaction([], [{ type: "delete", key }]);
  await expect(subject.ca.reload()).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  await subject.storage.transaction([], [{ type: "put", key: record, value: Buffer.from("{}") }]);
  await expect(subject.ca.reload()).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});

function catchError(work: () => unknown): RksError {
  try {
    work();
  } catch (error) {
    return RksError.from(error);
  }
  throw new Error("nothing was refused");
}
