import { RksError, type Message } from "@rk8s/protocol";
import { OID } from "@rk8s/x509";
import { expect, test } from "vitest";
import { createCertificateRequest } from "../identity/csr.js";
import { KeyPair } from "../identity/key-pair.js";
import { TestCa } from "../testing/test-ca.js";
import { readCertificateAnswer } from "./certificate-answer.js";
import { parseCertificate } from "@rk8s/x509";

const nowMs = Math.floor(Date.now() / 1000) * 1000;
const ca = new TestCa({ nowMs });
const keyPair = KeyPair.create();
const csr = createCertificateRequest(keyPair);
const SUBJECT = { name: "worker-1", kind: "node", nowMs } as const;

function anAnswer(leaf: Uint8Array, changes: Partial<Message<"Certificate">> = {}): Message<"Certificate"> {
  return {
    type: "Certificate",
    nodeName: "worker-1",
    leaf,
    chain: [ca.root],
    trustBundle: [ca.root],
    renewAfter: new Date(nowMs + 2_400_000).toISOString(),
    notAfter: new Date(nowMs + 3_600_000).toISOString(),
    serialNumber: safeSerial(leaf),
    ...changes,
  };
}

function safeSerial(leaf: Uint8Array): string {
  return leaf.length < 50 ? "00" : parseCertificate(leaf).serialNumber;
}

function read(answer: Message<"Certificate">): string {
  const expected = {
    role: "node",
    keyPair,
    tokenId: "0011223344556677",
    nodeName: "worker-1",
    roots: [ca.root],
    nowMs,
  } as const;
  try {
    return readCertificateAnswer(answer, expected).nodeName;
  } catch (error) {
    return RksError.from(error).code;
  }
}

test("a certificate that is what was asked for is taken", () => {
  expect(read(anAnswer(ca.signRequest(csr, SUBJECT)))).toBe("worker-1");
});

test("a serial number may have upper-case digits and colons", () => {
  const leaf = ca.signRequest(csr, SUBJECT);
  const serialNumber = safeSerial(leaf).toUpperCase().replace(/^(..)/, "$1:");
  expect(read(anAnswer(leaf, { serialNumber }))).toBe("worker-1");
});

const foreign = new TestCa({ nowMs });
/** Holds a leaf of ours and signs with its key. */
const leafHolder = new TestCa({ nowMs, commonName: "x", isCa: false });
const intermediate = ca.issue({ spki: parseCertificate(leafHolder.root).spki, dnsNames: ["x"], nowMs });
const good = ca.signRequest(csr, SUBJECT);

test.each([
  { name: "no certificate", answer: anAnswer(Uint8Array.of(1, 2, 3)) },
  {
    name: "for another key",
    answer: anAnswer(ca.signRequest(createCertificateRequest(KeyPair.create()), SUBJECT)),
  },
  { name: "for another node", answer: anAnswer(ca.signRequest(csr, { ...SUBJECT, name: "worker-2" })) },
  {
    name: "for another node, and says so",
    answer: anAnswer(ca.signRequest(csr, { ...SUBJECT, name: "worker-2" }), { nodeName: "worker-2" }),
  },
  { name: "for an operator", answer: anAnswer(ca.signRequest(csr, { ...SUBJECT, kind: "operator" })) },
  {
    name: "for a server",
    answer: anAnswer(ca.signRequest(csr, { ...SUBJECT, extendedKeyUsage: [OID.serverAuth] })),
  },
  { name: "for everything", answer: anAnswer(ca.signRequest(csr, { ...SUBJECT, extendedKeyUsage: [] })) },
  {
    name: "without a SPIFFE id",
    answer: anAnswer(ca.signRequest(csr, { ...SUBJECT, uris: [], dnsNames: ["worker-1"] })),
  },
  {
    name: "with two SPIFFE ids",
    answer: anAnswer(
      ca.signRequest(csr, { ...SUBJECT, uris: ["spiffe://a/node/worker-1", "spiffe://b/node/worker-1"] }),
    ),
  },
  { name: "of another serial number", answer: anAnswer(good, { serialNumber: "ffff" }) },
  { name: "of another root", answer: anAnswer(foreign.signRequest(csr, SUBJECT), { chain: [foreign.root] }) },
  {
    name: "of another root with the same name, and our root behind it",
    answer: anAnswer(foreign.signRequest(csr, SUBJECT)),
  },
  {
    name: "issued by a leaf",
    answer: anAnswer(leafHolder.signRequest(csr, SUBJECT), { chain: [intermediate, ca.root] }),
  },
  { name: "with a leaf in its trust bundle", answer: anAnswer(good, { trustBundle: [good] }) },
])("a certificate $name is refused", ({ answer }) => {
  expect(read(answer)).toBe("CERTIFICATE_INVALID");
});

test("what follows a certificate that a trusted root has signed is for others", () => {
  const other = new TestCa({ nowMs, commonName: "old root" });
  expect(read(anAnswer(good, { chain: [other.crossSign(ca), other.root, ca.root] }))).toBe("worker-1");
});

test.each([
  { name: "past", at: nowMs - 7_200_000 },
  { name: "future", at: nowMs + 7_200_000 },
])("a certificate of the $name points at the clocks", ({ at }) => {
  expect(read(anAnswer(ca.signRequest(csr, { ...SUBJECT, nowMs: at })))).toBe("CLOCK_SKEW");
});
