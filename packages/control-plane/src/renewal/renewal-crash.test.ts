import { sign } from "node:crypto";
import { encodeMessage, hex, type Message, renewProofTranscript, RksError } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { parseCertificateRequest } from "@rk8s/x509";
import { expect, test } from "vitest";
import { aClusterCa } from "../join/testing/a-cluster-ca.js";
import { aCsr, aKey, type TestKey } from "../join/testing/a-request.js";
import { MemoryAudit } from "../join/testing/memory-audit.js";
import { type NodeCertificate, nodeRecords } from "../nodes/node-record.js";
import { proveClusterRequest } from "../pki/cluster-request.js";
import { CrashingStorage, everyCrash } from "../vault/testing/crashing-storage.js";
import { Promotion } from "./promotion.js";
import { Renewal } from "./renewal.js";

const NAME = "worker-1";
const welcome = new Uint8Array(48);

/** A control plane with one node in a store that outlives its processes. */
async function aDesk() {
  const storage = new CrashingStorage();
  const clock = new FakeClock();
  const ca = await aClusterCa(storage, clock);
  const csr = proveClusterRequest(parseCertificateRequest(aCsr(aKey())));
  const first = ca.prepareNodeCertificate({ csr, nodeName: NAME, ttlSeconds: 3600 });
  const at = new Date(clock.now()).toISOString();
  const current = { serialNumber: first.serialNumber, spkiSha256: "00", notAfter: at };
  const rest = { name: NAME, uid: "1", joinedAt: at, tokenId: "0123456789abcdef", labels: {}, generation: 0 };
  await storage.transaction([], [...first.writes, nodeRecords(storage).put(NAME, { ...rest, ...current })]);
  const ports = { barrier: storage, issuer: ca, audit: new MemoryAudit(), clock };
  /** A control plane that was just started. */
  const start = () => ({
    renewal: new Renewal({ nodeTtlSeconds: 3600 }, ports),
    promotion: new Promotion(ports),
  });
  const record = async () => (await nodeRecords(storage).read(NAME))!.record;
  return { storage, ca, current, start, record };
}

type Desk = Awaited<ReturnType<typeof aDesk>>;

/** Do it; when the process dies, once more with the next one, as an agent that heard nothing does. */
async function inSpiteOfCrash<T>(
  desk: Desk,
  work: (process: ReturnType<Desk["start"]>) => Promise<T>,
): Promise<T> {
  try {
    return await work(desk.start());
  } catch (reason) {
    if (RksError.from(reason).code !== "STORAGE_UNWRITABLE") throw reason;
    desk.storage.plan(undefined);
    return work(desk.start());
  }
}

function renewRequest(key: TestKey, certificate: NodeCertificate) {
  const csr = aCsr(key);
  const proof = sign("sha256", renewProofTranscript({ welcome, csr }), key.privateKey);
  const message: Message<"CertificateRenew"> = { type: "CertificateRenew", csr, proof };
  return { message, welcome, nodeName: NAME, certificate };
}

test.each(everyCrash(2))(
  "a process that dies at $at (written: $written) leaves one good certificate",
  async (crash) => {
    const desk = await aDesk();
    const key = aKey();
    desk.storage.plan(crash);
    const answer = await inSpiteOfCrash(desk, ({ renewal }) =>
      renewal.renew(renewRequest(key, desk.current)),
    );
    const { next } = await desk.record();
    expect(next?.serialNumber).toBe(answer.serialNumber);
    expect(await inSpiteOfCrash(desk, ({ promotion }) => promotion.use(NAME, next!))).toBe(1);
    expect(await desk.record()).toMatchObject({ serialNumber: answer.serialNumber, generation: 1 });
    const { revocations } = desk.ca;
    expect((await revocations.find(desk.current.serialNumber))?.reason).toBe("superseded");
    expect(await revocations.find(answer.serialNumber)).toBeUndefined();
    const again = await desk.start().renewal.renew(renewRequest(key, next!));
    expect(hex(encodeMessage(again))).toBe(hex(encodeMessage(answer)));
  },
);

test("renewal and first use are one transaction each", async () => {
  const desk = await aDesk();
  desk.storage.plan(undefined);
  const { renewal, promotion } = desk.start();
  await renewal.renew(renewRequest(aKey(), desk.current));
  await promotion.use(NAME, (await desk.record()).next!);
  expect(desk.storage.transactions).toBe(2);
});
