import type { X509Certificate } from "node:crypto";
import { hex, RksError } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage, type Storage } from "@rk8s/storage";
import { encodePem, parseCertificate, parseCertificateRequest, parseCrl } from "@rk8s/x509";
import { expect, test } from "vitest";
import { aClusterCa, anOfflineClusterCa } from "../join/testing/a-cluster-ca.js";
import { askBackend } from "../vault/testing/ask-backend.js";
import type { ClusterCa } from "./cluster-ca.js";
import { spkiSha256Of } from "./cluster-roots.js";
import type { RotationStep } from "./cluster-rotation.js";
import { type AuthorityFields, OfflineRoot } from "./testing/offline-root.js";
import { serverChainOf, takeStep, verifies } from "./testing/rotating-ca.js";

const DAY_MS = 86_400_000;

class Subject {
  readonly clock = new FakeClock();
  readonly storage: Storage = memoryStorage();
  readonly root = new OfflineRoot(this.clock.now());
  ca!: ClusterCa;

  static async make({ isOffline = true } = {}): Promise<Subject> {
    const subject = new Subject();
    const { storage, clock, root } = subject;
    subject.ca = isOffline
      ? await anOfflineClusterCa(storage, clock, root)
      : await aClusterCa(storage, clock);
    return subject;
  }

  /** The request that is pending, DER. */
  async request(isFresh = false): Promise<Uint8Array> {
    const { csr, comparisons, writes, wipe } = await this.ca.prepareRequest({ isFresh });
    await this.storage.transaction(comparisons, writes);
    wipe();
    return csr;
  }

  /** Take a step; a new root would live for a day. */
  take(step: RotationStep, certificates?: string): Promise<void> {
    return takeStep(this.ca, this.storage, step, { rootTtlSeconds: 86_400, certificates });
  }

  /** A new intermediate of the root. */
  async renew(fields: AuthorityFields = {}): Promise<void> {
    await this.take("renew", this.root.answer(await this.request(), fields));
  }

  serverChain(): readonly X509Certificate[] {
    return serverChainOf(this.ca, 86_400);
  }

  async keys(): Promise<readonly string[]> {
    const { entries } = await this.storage.list("logical/test/issuer/");
    return entries.map(({ key }) => key.slice("logical/test/issuer/".length));
  }

  intermediates(): readonly { readonly isTainted: boolean }[] {
    return this.ca.roots.active.intermediates;
  }
}

async function refusalOf(work: () => Promise<unknown>): Promise<RksError> {
  try {
    await work();
  } catch (reason) {
    return RksError.from(reason);
  }
  throw new Error("nothing was refused");
}

test("a cluster below an offline root pins it, and signs with an intermediate of its own", async () => {
  const subject = await Subject.make();
  const { ca, root } = subject;
  expect(ca.root).toEqual(root.certificate.der);
  expect(ca.trust()).toMatchObject({ generation: 0, bundle: [root.certificate.der], refusedIssuers: [] });
  expect(ca.clientRoots).toEqual([root.certificate.der]);
  expect(hex(ca.founder)).toBe(hex(ca.rootSpkiSha256));
  const [leaf, intermediate, last, ...rest] = subject.serverChain();
  expect(rest).toEqual([]);
  expect(last!.raw.equals(root.certificate.der)).toBe(true);
  expect(leaf!.verify(intermediate!.publicKey)).toBe(true);
  expect(verifies([leaf!, intermediate!], root.certificate.der)).toBe(true);
  expect(await subject.keys()).toEqual([expect.stringMatching(/^intermediate-key\/[0-9a-f]{64}$/)]);
});

test("a request asks for what an intermediate has to be, and stays the same until it is answered", async () => {
  const subject = await Subject.make();
  const csr = await subject.request();
  const { requested, subject: name } = parseCertificateRequest(csr);
  expect(requested).toMatchObject({ isCa: true, pathLength: 0, keyUsage: ["keyCertSign", "cRLSign"] });
  expect(name.rdns[0]![0]!.value).toMatch(/^rk8s cluster intermediate [0-9a-f]{12}$/);
  expect(await subject.request()).toEqual(csr);
  const fresh = await subject.request(true);
  expect(fresh).not.toEqual(csr);
  // The key of the one before is gone.
  expect(await subject.keys()).toHaveLength(3);
  const error = await refusalOf(() => subject.take("renew", subject.root.answer(csr)));
  expect(error).toMatchObject({
    code: "CERTIFICATE_INVALID",
    message: expect.stringContaining("the request"),
  });
  await subject.take("renew", subject.root.answer(fresh));
  expect(await subject.keys()).toHaveLength(2);
});

test("a new intermediate signs at once, and who has a certificate of the former one keeps it", async () => {
  const subject = await Subject.make();
  const [leaf, former] = subject.serverChain();
  await subject.renew();
  const [newLeaf, present] = subject.serverChain();
  expect(present!.subject).not.toBe(former!.subject);
  expect(subject.ca.trust().generation).toBe(0);
  const root = subject.root.certificate.der;
  expect([verifies([leaf!, former!], root), verifies([newLeaf!, present!], root)]).toEqual([true, true]);
  await subject.ca.reload();
  expect(subject.serverChain()[1]!.subject).toBe(present!.subject);
});

test("a certificate counts until its intermediate is tainted", async () => {
  const subject = await Subject.make();
  const issue = async (): Promise<string> => {
    const init = { dnsNames: [], ipAddresses: [], ttlSeconds: 60 };
    const { serialNumber, writes } = subject.ca.prepareServerCertificate(init);
    await subject.storage.transaction([], writes);
    return serialNumber;
  };
  const before = await issue();
  await subject.renew();
  const after = await issue();
  expect(await Promise.all([before, after].map((one) => subject.ca.isOfActiveRoot(one)))).toEqual([
    true,
    true,
  ]);
  await subject.take("taint");
  expect(await Promise.all([before, after].map((one) => subject.ca.isOfActiveRoot(one)))).toEqual([
    false,
    true,
  ]);
});

test("the present intermediate's own key can get another certificate, with no request pending", async () => {
  const subject = await Subject.make();
  const again = subject.ca.requestAgain()!;
  await subject.take("renew", subject.root.answer(again, { notAfter: subject.clock.now() + 2000 * DAY_MS }));
  expect(subject.intermediates()).toHaveLength(1);
  expect(subject.ca.intermediateNotAfter).toBe(
    Math.floor((subject.clock.now() + 2000 * DAY_MS) / 1000) * 1000,
  );
  expect(await subject.keys()).toHaveLength(1);
  // A former one's cannot.
  await subject.renew();
  const error = await refusalOf(() => subject.take("renew", subject.root.answer(again)));
  expect(error.code).toBe("CERTIFICATE_INVALID");
});

test("nothing that is signed outlives the intermediate, and nothing is signed after its end", async () => {
  const subject = await Subject.make();
  const end = subject.clock.now() + 600_000;
  await subject.renew({ notAfter: end });
  expect(Date.parse(subject.serverChain()[0]!.validTo)).toBeLessThanOrEqual(end);
  subject.clock.advance(600_000);
  expect(await refusalOf(() => Promise.resolve(subject.serverChain()))).toMatchObject({
    code: "CERTIFICATE_EXPIRED",
    message: expect.stringContaining("intermediate"),
    suggestion: expect.stringContaining("intermediate.pem"),
  });
  await subject.renew({ notBefore: end, notAfter: end + DAY_MS });
  expect(subject.serverChain()).toHaveLength(3);
  // What has ended is forgotten, with its key; the first one has not.
  expect(subject.intermediates()).toHaveLength(2);
  expect(await subject.keys()).toHaveLength(2);
});

test("an offline root whose own time is over cannot be helped by an intermediate, and the error does not say so", async () => {
  const subject = await Subject.make();
  subject.clock.advance(20 * 365 * DAY_MS);
  expect(await refusalOf(() => Promise.resolve(subject.serverChain()))).toMatchObject({
    code: "CERTIFICATE_EXPIRED",
    message: expect.stringContaining("the cluster's root certificate"),
    suggestion: expect.stringContaining("Begin a new cluster"),
  });
});

test("taint gives up the former intermediates, once another one signs", async () => {
  const subject = await Subject.make();
  expect((await refusalOf(() => subject.take("taint"))).suggestion).toContain("rks ca csr");
  const [, former] = subject.serverChain();
  await subject.renew();
  await subject.take("taint");
  expect(subject.intermediates().map(({ isTainted }) => isTainted)).toEqual([false, true]);
  const { generation, refusedIssuers, bundle } = subject.ca.trust();
  expect({ generation, bundle }).toEqual({ generation: 1, bundle: [subject.root.certificate.der] });
  expect(refusedIssuers.map(hex)).toEqual([hex(spkiSha256Of(parseCertificate(former!.raw)))]);
  expect(await subject.keys()).toHaveLength(1);
  expect((await refusalOf(() => subject.take("taint"))).code).toBe("CA_PHASE_INVALID");
  await subject.ca.reload();
  expect(subject.ca.trust().refusedIssuers).toHaveLength(1);
});

test("a running cluster moves below an offline root, whose chain leads to either root meanwhile", async () => {
  const subject = await Subject.make({ isOffline: false });
  const old = subject.ca.root;
  const offline = subject.root.certificate.der;
  await subject.take("prepare", subject.root.answer(await subject.request()));
  expect(subject.ca.trust()).toMatchObject({ generation: 1, bundle: [old, offline] });
  await subject.take("activate");
  const chain = subject.serverChain();
  expect(chain.map(({ ca }) => ca)).toEqual([false, true, true, true, true]);
  expect(chain.at(-1)!.raw.equals(offline)).toBe(true);
  expect([verifies(chain, old), verifies(chain, offline)]).toEqual([true, true]);
  await subject.take("rollback");
  expect(verifies(subject.serverChain(), old)).toBe(true);
  await subject.take("activate");
  await subject.take("retire");
  expect(subject.ca.trust()).toMatchObject({ generation: 5, bundle: [offline] });
  expect(await subject.keys()).toEqual(["certificate", expect.stringMatching(/^intermediate-key/)]);
});

test("from one offline root to the next the operator's cross-certificate leads, or nobody is left to lead", async () => {
  const subject = await Subject.make();
  const next = new OfflineRoot(subject.clock.now(), { commonName: "next offline root" });
  expect((await refusalOf(() => subject.take("prepare"))).code).toBe("INPUT_INVALID");
  const csr = await subject.request();
  const foreign = new OfflineRoot(subject.clock.now(), { commonName: "foreign" }).crossSign(next);
  for (const bad of [foreign, subject.root.crossSign(next, { pathLength: 0 })]) {
    expect((await refusalOf(() => subject.take("prepare", next.answer(csr) + bad))).code).toBe(
      "CERTIFICATE_INVALID",
    );
  }
  await subject.take("prepare", next.answer(csr) + subject.root.crossSign(next));
  await subject.take("activate");
  const [old, incoming] = [subject.root.certificate.der, next.certificate.der];
  expect([verifies(subject.serverChain(), old), verifies(subject.serverChain(), incoming)]).toEqual([
    true,
    true,
  ]);
});

test("a root from before there were intermediates is rotated once first", async () => {
  const subject = await Subject.make({ isOffline: false });
  const { active } = subject.ca.roots;
  Object.assign(active.certificate, { pathLength: 1 });
  const answer = subject.root.answer(await subject.request());
  expect(await refusalOf(() => subject.take("prepare", answer))).toMatchObject({
    code: "CA_PHASE_INVALID",
    suggestion: expect.stringContaining("rks ca retire"),
  });
});

test("certificates of a known root are not prepared, of an unknown one not renewed", async () => {
  const subject = await Subject.make();
  const csr = await subject.request();
  const other = new OfflineRoot(subject.clock.now(), { commonName: "other" });
  const namesake = new OfflineRoot(subject.clock.now());
  const refusals = [
    await refusalOf(() => subject.take("prepare", subject.root.answer(csr))),
    await refusalOf(() => subject.take("prepare", encodePem("CERTIFICATE", other.sign(csr)))),
    await refusalOf(() => subject.take("renew", other.answer(csr))),
    await refusalOf(() => subject.take("renew", namesake.answer(csr))),
    await refusalOf(() => subject.take("renew", encodePem("CERTIFICATE", namesake.sign(csr)))),
    await refusalOf(() => subject.take("renew")),
  ];
  expect(refusals.map(({ code }) => code)).toEqual([
    ...Array.from({ length: 5 }, () => "CERTIFICATE_INVALID"),
    "INPUT_INVALID",
  ]);
  expect(refusals[0]!.suggestion).toContain("rks ca renew");
  expect(refusals[2]!.suggestion).toContain("rks ca prepare");
  const online = await Subject.make({ isOffline: false });
  expect((await refusalOf(() => online.take("renew", subject.root.answer(csr)))).code).toBe(
    "CA_PHASE_INVALID",
  );
});

test("as many intermediates as can be kept may live at a time", async () => {
  const subject = await Subject.make();
  for (let count = 1; count < 8; count++) await subject.renew();
  expect(await refusalOf(() => subject.renew())).toMatchObject({ code: "CA_PHASE_INVALID" });
  expect(subject.intermediates()).toHaveLength(8);
});

test("lists of revocations are the intermediate's own, of a former one too", async () => {
  const subject = await Subject.make();
  const [, former] = subject.serverChain();
  await subject.renew();
  const [, present] = subject.serverChain();
  const keyIdOf = (raw: Uint8Array): string => hex(parseCertificate(raw).subjectKeyId ?? new Uint8Array());
  for (const issuer of [former!, present!]) {
    const path = keyIdOf(issuer.raw) === "" ? "crl" : `issuer/${keyIdOf(issuer.raw)}/crl/der`;
    const answer = await askBackend(subject.ca, "read", path);
    const { issuer: name } = parseCrl(answer!.raw!.body as Uint8Array);
    expect(hex(name.der)).toBe(hex(parseCertificate(issuer.raw).subject.der));
  }
});

test("of a request and a step at the same time one is committed", async () => {
  const subject = await Subject.make();
  const csr = await subject.request();
  const pending = await subject.ca.pendingRequest();
  const options = { rootTtlSeconds: 60, certificates: subject.root.answer(csr), pending };
  const { comparisons, writes } = subject.ca.prepareRotation("renew", options);
  await subject.request(true);
  expect((await subject.storage.transaction(comparisons, writes)).succeeded).toBe(false);
  await subject.ca.reload();
  expect(subject.intermediates()).toHaveLength(1);
});
