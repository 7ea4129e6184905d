import { RksError } from "@rk8s/protocol";
import {
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeNameConstraints,
  encodePem,
  OID,
  parseCertificate,
} from "@rk8s/x509";
import { expect, test } from "vitest";
import { assertIntermediate, assertOfflineRoot, readSignedIntermediate } from "./cluster-intermediate.js";
import { prepareIntermediateRequest } from "./cluster-intermediate-request.js";
import { createFastKeyPair } from "./key-pair.js";
import { type AuthorityFields, OfflineRoot } from "./testing/offline-root.js";

const NOW = Date.UTC(2026, 5, 1);
const DAY_MS = 86_400_000;
const root = new OfflineRoot(NOW);
const { csr } = prepareIntermediateRequest(undefined, { prefix: "p/", isFresh: false });
const good = parseCertificate(root.sign(csr));

/** The code and message of what is refused, undefined when nothing is. */
function refusalOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (reason) {
    const { code, message, suggestion } = RksError.from(reason);
    return suggestion === undefined ? "there is no suggestion" : `${code}: ${message}`;
  }
}

function judge(fields: AuthorityFields, by = root): string | undefined {
  const intermediate = parseCertificate(by.sign(csr, fields));
  return refusalOf(() => assertIntermediate(intermediate, { root: root.certificate, known: [], now: NOW }));
}

test("an intermediate as the request asks for it is taken", () => {
  expect(judge({})).toBeUndefined();
  expect(
    judge({ moreExtensions: [encodeExtendedKeyUsage([OID.serverAuth, OID.clientAuth])] }),
  ).toBeUndefined();
});

test.each<{ name: string; fields: AuthorityFields; by?: OfflineRoot; says: string }>([
  { name: "CA:FALSE", fields: { isCa: false }, says: "CA:TRUE" },
  { name: "no path length", fields: { pathLength: undefined }, says: "without limit" },
  { name: "room for others below it", fields: { pathLength: 1 }, says: "path length 1" },
  { name: "no key usage", fields: { keyUsage: [] }, says: "keyCertSign" },
  { name: "no keyCertSign", fields: { keyUsage: ["cRLSign"] }, says: "keyCertSign" },
  { name: "no cRLSign", fields: { keyUsage: ["keyCertSign"] }, says: "cRLSign" },
  { name: "an end after the root's", fields: { notAfter: NOW + 4000 * DAY_MS }, says: "beyond the root's" },
  { name: "a beginning before the root's", fields: { notBefore: NOW - DAY_MS }, says: "beyond the root's" },
  { name: "a time that is over", fields: { notAfter: NOW }, says: "not at" },
  { name: "a time that has not come", fields: { notBefore: NOW + 1000 }, says: "not at" },
  { name: "the root's own name", fields: { commonName: "offline root" }, says: "belongs to another key" },
  {
    name: "another issuer",
    fields: {},
    by: new OfflineRoot(NOW, { commonName: "x" }),
    says: 'issued by "CN=x"',
  },
  { name: "a namesake's signature", fields: {}, by: new OfflineRoot(NOW), says: "did not make" },
  {
    name: "one use alone",
    fields: { moreExtensions: [encodeExtendedKeyUsage([OID.serverAuth])] },
    says: "limited to other uses",
  },
  {
    name: "name constraints",
    fields: { moreExtensions: [encodeNameConstraints({ permitted: { dnsDomains: ["rks-cluster"] } })] },
    says: "name constraints",
  },
  {
    name: "a critical extension that nobody knows",
    fields: {
      moreExtensions: [encodeExtension({ oid: "1.2.3.4", critical: true, value: Uint8Array.of(5, 0) })],
    },
    says: "1.2.3.4",
  },
])("an intermediate with $name is refused", ({ fields, by, says }) => {
  expect(judge(fields, by)).toMatch("CERTIFICATE_INVALID");
  expect(judge(fields, by)).toContain(says);
});

test("a name belongs to one key, and a key keeps its name", () => {
  const { csr: other } = prepareIntermediateRequest(undefined, { prefix: "p/", isFresh: false });
  const name = good.subject.rdns[0]![0]!.value;
  const namesake = parseCertificate(root.sign(other, { commonName: name }));
  const renamed = parseCertificate(root.sign(csr, { commonName: "another" }));
  const again = parseCertificate(root.sign(csr));
  const judged = [namesake, renamed, again].map((one) =>
    refusalOf(() => assertIntermediate(one, { root: root.certificate, known: [good], now: NOW })),
  );
  expect(judged).toEqual([
    expect.stringContaining("belongs to another key"),
    expect.stringContaining("which its key had before"),
    undefined,
  ]);
});

test.each<{ name: string; made: OfflineRoot; says: string }>([
  { name: "CA:FALSE", made: new OfflineRoot(NOW, { isCa: false }), says: "CA:TRUE" },
  { name: "no room below it", made: new OfflineRoot(NOW, { pathLength: 0 }), says: "pathlen:0" },
  { name: "no keyCertSign", made: new OfflineRoot(NOW, { keyUsage: ["cRLSign"] }), says: "keyCertSign" },
  { name: "a time that is over", made: new OfflineRoot(NOW, { notAfter: NOW }), says: "not at" },
  {
    name: "a key of Ed25519",
    made: new OfflineRoot(NOW, { key: { type: "ed25519" } }),
    says: "neither RSA nor",
  },
  {
    name: "a key on P-521",
    made: new OfflineRoot(NOW, { key: { type: "ec", bits: 521 } }),
    says: "neither RSA nor",
  },
])("a root with $name is refused", ({ made, says }) => {
  expect(refusalOf(() => assertOfflineRoot(made.certificate, NOW))).toContain(says);
});

test("a root is one that has signed itself", () => {
  expect(refusalOf(() => assertOfflineRoot(root.certificate, NOW))).toBeUndefined();
  expect(refusalOf(() => assertOfflineRoot(good, NOW))).toContain("not self-signed");
  const forged = { ...root.certificate, signature: new OfflineRoot(NOW).certificate.signature };
  expect(refusalOf(() => assertOfflineRoot(forged, NOW))).toContain("not self-signed");
});

test("the certificates are told apart in any order, and what does not belong is refused", () => {
  const pem = encodePem("CERTIFICATE", good.der);
  const next = new OfflineRoot(NOW, { commonName: "next" });
  const cross = root.crossSign(next);
  const mine = [good.spki];
  expect(readSignedIntermediate(`${root.pem}${pem}`, mine)).toMatchObject({
    intermediate: { serialNumber: good.serialNumber },
    root: { serialNumber: root.certificate.serialNumber },
    cross: undefined,
  });
  expect(readSignedIntermediate(`${cross}${pem}${next.pem}`, mine).cross).toBeDefined();
  const refused = [
    "",
    "no PEM",
    root.pem,
    `${pem}${pem}`,
    `${pem}${root.pem}${next.pem}`,
    `${pem}${cross}`,
    `${pem}${root.pem}${cross}`,
    `${pem}${root.pem}`.repeat(9),
    encodePem("CERTIFICATE", Uint8Array.of(0x30, 0)),
    `${pem}${root.pem}${encodePem("PRIVATE KEY", Uint8Array.of(0x30, 0))}`,
  ];
  for (const text of refused) {
    expect(refusalOf(() => readSignedIntermediate(text, mine))).toContain("CERTIFICATE_INVALID");
  }
  const stranger = createFastKeyPair({ type: "ec", bits: 256 });
  expect(refusalOf(() => readSignedIntermediate(pem, [stranger.spki]))).toContain("key of the request");
  expect(refusalOf(() => readSignedIntermediate(pem, []))).toContain("key of the request");
});

test("a certificate that is too large for a node's memory of itself is refused", () => {
  const value = new Uint8Array(2100);
  const moreExtensions = [encodeExtension({ oid: "1.2.3.4", critical: false, value })];
  const pem = encodePem("CERTIFICATE", root.sign(csr, { moreExtensions }));
  expect(refusalOf(() => readSignedIntermediate(pem, [good.spki]))).toContain("at most 2048");
});
