import { silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { parseCertificate } from "@rk8s/x509";
import { expect, test } from "vitest";
import { aClusterCa } from "../join/testing/a-cluster-ca.js";
import { FaultyStorage } from "../join/testing/faulty-storage.js";
import { phaseOf } from "../pki/cluster-roots.js";
import { OfflineRoot } from "../pki/testing/offline-root.js";
import { actor, aCluster, type TestCluster } from "../server/testing/a-cluster.js";
import { NO_MEMBERS, type StoreMemberBehind, type StoreTrial } from "../store/choose-store.js";
import { AutoRotation } from "./auto-rotation.js";

const HOUR = 3600;
const DAY = 24 * HOUR;
const YEAR = 365 * DAY;

interface Rig extends AsyncDisposable {
  readonly test: TestCluster;
  readonly auto: AutoRotation;
  /** How many connected nodes are said to be behind. */
  behind: number;
  /** Members of the store that would be lost with the old root. */
  storeBehind: readonly StoreMemberBehind[];
  /** What was warned of. */
  readonly warnings: string[];
  /** Let time pass, with a look at each end of so many seconds. */
  pass(seconds: number, step?: number): Promise<void>;
}

async function aRig(rootTtlSeconds: number): Promise<Rig> {
  const clock = new FakeClock();
  const storage = new FaultyStorage();
  const ca = await aClusterCa(storage, clock, rootTtlSeconds);
  const config = { rootTtlSeconds, serverTtlSeconds: 10, nodeTtlSeconds: 10 };
  const tryStore = (): Promise<StoreTrial> =>
    Promise.resolve({ ...NO_MEMBERS, members: 1, behind: rig.storeBehind });
  const cluster = await aCluster({ clock, storage, ca, config, tryStore });
  const warnings: string[] = [];
  const rig: Rig = {
    test: cluster,
    auto: new AutoRotation(
      { rootTtlSeconds },
      {
        clusterCa: ca,
        rotation: cluster.cluster.ca,
        behind: () => rig.behind,
        clock,
        logger: { ...silentLogger, warn: (message) => void warnings.push(message) },
      },
    ),
    behind: 0,
    storeBehind: [],
    warnings,
    async pass(seconds, step = seconds) {
      for (let at = 0; at < seconds; at += step) {
        clock.advance(step * 1000);
        await rig.auto.look();
      }
    },
    [Symbol.asyncDispose]: () => cluster.stop(),
  };
  return rig;
}

function phase({ test: { ca } }: Rig): string {
  return `${phaseOf(ca.roots)} ${ca.roots.active.number}`;
}

function stepsOf({ test: { audit } }: Rig): string[] {
  const done = audit.lines.filter(({ type, outcome }) => type === "result" && outcome === "done");
  return done.map(({ operation }) => operation).filter((operation) => operation.startsWith("ca."));
}

test("through generations of roots of a minute no certificate is short, and none outlives its issuer", async () => {
  await using rig = await aRig(60);
  const { ca, clock } = rig.test;
  for (let second = 0; second < 240; second += 2) {
    await rig.pass(2, 1);
    const { active, other } = ca.roots;
    const { notAfter, privateKey, chain, certificate } = ca.prepareServerCertificate({
      dnsNames: [],
      ipAddresses: [],
      ttlSeconds: 10,
    });
    privateKey.fill(0);
    expect(notAfter - clock.now()).toBe(10_000);
    expect(notAfter).toBeLessThanOrEqual(active.certificate.notAfter);
    expect(parseCertificate(certificate).issuer.der).toEqual(active.certificate.subject.der);
    for (const cross of [active.cross, other?.cross]) {
      if (cross === undefined || other === undefined) continue;
      expect(cross.notAfter).toBe(Math.min(active.certificate.notAfter, other.certificate.notAfter));
      expect(cross.notBefore).toBe(Math.max(active.certificate.notBefore, other.certificate.notBefore));
    }
    // What is presented is valid: nothing that has expired is sent along.
    expect(chain.every((der) => parseCertificate(der).notAfter > clock.now())).toBe(true);
  }
  expect(ca.roots.lastNumber).toBe(8);
  expect(stepsOf(rig).slice(0, 6)).toEqual([
    "ca.prepare",
    "ca.activate",
    "ca.retire",
    "ca.prepare",
    "ca.activate",
    "ca.retire",
  ]);
  const actors = rig.test.audit.lines.filter(({ operation }) => operation.startsWith("ca."));
  expect(new Set(actors.map((line) => line.actor))).toEqual(new Set(["rks"]));
});

test("the new root is made at half of the life and signs once everybody connected trusts it", async () => {
  await using rig = await aRig(YEAR);
  await rig.pass(182 * DAY);
  expect(phase(rig)).toBe("steady 1");
  rig.behind = 1;
  await rig.pass(DAY);
  expect(phase(rig)).toBe("prepared 1");
  await rig.pass(30 * DAY, DAY);
  expect(phase(rig)).toBe("prepared 1");
  rig.behind = 0;
  await rig.pass(60);
  expect(phase(rig)).toBe("activated 2");
});

test("after it started and after a root was made it gives nodes a minute to connect", async () => {
  await using rig = await aRig(YEAR);
  await rig.pass(183 * DAY);
  for (let second = 0; second < 59; second++) await rig.pass(1);
  expect(phase(rig)).toBe("prepared 1");
  await rig.pass(1);
  expect(phase(rig)).toBe("activated 2");
});

test("who is connected and never acknowledges holds the new root up until a quarter of the life is left", async () => {
  await using rig = await aRig(60);
  rig.behind = 1;
  await rig.pass(44, 1);
  expect(phase(rig)).toBe("prepared 1");
  await rig.pass(1);
  expect(phase(rig)).toBe("activated 2");
});

test("the old root goes when no operator, token or node needs it", async () => {
  await using rig = await aRig(YEAR);
  await rig.pass(182 * DAY + 11 * HOUR);
  await rig.test.cluster.joinTokens.create({ ttlSeconds: 24 * HOUR }, actor);
  await rig.pass(HOUR);
  await rig.pass(60);
  expect(phase(rig)).toBe("activated 2");
  await rig.pass(22 * HOUR, HOUR);
  expect(phase(rig)).toBe("activated 2");
  await rig.pass(HOUR);
  expect(phase(rig)).toBe("steady 2");

  await using plain = await aRig(YEAR);
  await plain.pass(183 * DAY);
  await plain.pass(60);
  await plain.pass(599);
  expect(phase(plain)).toBe("activated 2");
  await plain.pass(1);
  expect(phase(plain)).toBe("steady 2");
});

test("members of the store hold the old root up until somebody brings them certificates, which is said once", async () => {
  await using rig = await aRig(YEAR);
  rig.storeBehind = [{ endpoint: "https://store-1:2379", code: "SERVER_UNTRUSTED" }];
  await rig.pass(183 * DAY);
  await rig.pass(60);
  await rig.pass(30 * DAY, DAY);
  expect(phase(rig)).toBe("activated 2");
  expect(rig.warnings).toEqual([expect.stringContaining("members of the store")]);
  rig.storeBehind = [];
  await rig.pass(60);
  expect(phase(rig)).toBe("steady 2");
  expect(rig.warnings).toHaveLength(1);
});

test("a node that is away is not forced: the old root stays until its own time is over", async () => {
  await using rig = await aRig(YEAR);
  const { connection } = await rig.test.node("away");
  await connection.close();
  await rig.pass(364 * DAY, DAY);
  expect(phase(rig)).toBe("activated 2");
  await rig.pass(DAY);
  expect(phase(rig)).toBe("steady 2");
  expect(rig.test.audit.lines.some(({ fields }) => fields?.["leftBehind"] !== undefined)).toBe(false);
});

test("a step that was refused is taken at a later look", async () => {
  await using rig = await aRig(60);
  rig.test.audit.broken = "intents";
  await rig.pass(35, 1);
  expect(phase(rig)).toBe("steady 1");
  rig.test.audit.broken = "nothing";
  await rig.pass(1);
  expect(phase(rig)).toBe("prepared 1");
});

test("operators may take any step first, and at the same moment", async () => {
  await using rig = await aRig(60);
  await rig.pass(5);
  await rig.test.cluster.ca.step("prepare", actor);
  await rig.pass(3, 1);
  expect(phase(rig)).toBe("activated 2");
  await rig.test.cluster.ca.step("rollback", actor);
  await rig.test.cluster.ca.step("rollback", actor);
  expect(phase(rig)).toBe("steady 1");
  rig.test.clock.advance(30_000);
  const both = await Promise.allSettled([rig.auto.look(), rig.test.cluster.ca.step("prepare", actor)]);
  expect(both[0].status).toBe("fulfilled");
  expect(phase(rig)).toBe("prepared 1");
  expect(rig.test.ca.roots.lastNumber).toBe(3);
});

test("of a tainted root nothing happens by itself", async () => {
  await using rig = await aRig(60);
  await rig.test.cluster.ca.step("prepare", actor);
  await rig.test.cluster.ca.step("taint", actor);
  await rig.pass(50, 1);
  expect(phase(rig)).toBe("tainted 2");
});

test("an offline root and its intermediates are left to operators, unless nothing else is left to serve with", async () => {
  await using rig = await aRig(YEAR);
  const { cluster, ca, clock } = rig.test;
  const root = new OfflineRoot(clock.now());
  await cluster.ca.request(actor);
  const { csr } = (await ca.pendingRequest())!;
  await cluster.ca.step("prepare", { ...actor, certificates: root.answer(csr) });
  await rig.pass(300 * DAY, 10 * DAY);
  expect(phase(rig)).toBe("prepared 1");
  clock.advance(64 * DAY * 1000);
  await rig.auto.look({ isServed: false });
  expect(phase(rig)).toBe("activated 2");
  await cluster.ca.step("retire", actor);
  await rig.pass(DAY);
  expect(phase(rig)).toBe("steady 2");
});

test("a successor that would end first is taken back", async () => {
  await using rig = await aRig(YEAR);
  await rig.test.cluster.ca.step("prepare", { ...actor, rootTtlSeconds: 3600 });
  await rig.pass(1);
  expect(phase(rig)).toBe("steady 1");
});

test.each([
  { name: "the only root", steps: [] },
  { name: "a root and its successor", steps: ["prepare"] },
  { name: "a root and the one before", steps: ["prepare", "activate"] },
] as const)("$name expired while rks was away: it starts with a new one", async ({ steps }) => {
  const clock = new FakeClock();
  const storage = new FaultyStorage();
  const ca = await aClusterCa(storage, clock, 60);
  const config = { rootTtlSeconds: 60, serverTtlSeconds: 10 };
  {
    await using before = await aCluster({ clock, storage, ca, config });
    for (const step of steps) await before.cluster.ca.step(step, actor);
  }
  clock.advance(600_000);
  await expect(aCluster({ clock, storage, ca, config })).rejects.toMatchObject({
    code: "CERTIFICATE_EXPIRED",
  });
  await using after = await aCluster({ clock, storage, ca, config: { ...config, rootRotation: "auto" } });
  expect(after.ca.rootNotAfter).toBe(clock.now() + 60_000);
  const node = await after.registeredNode("worker-1");
  expect(parseCertificate(node.identity!.answer.leaf).notAfter).toBeGreaterThan(clock.now());
});
