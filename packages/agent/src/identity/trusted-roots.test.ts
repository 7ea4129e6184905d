import { createHash } from "node:crypto";
import type { Message } from "@rk8s/protocol";
import { parseCertificate } from "@rk8s/x509";
import { expect, test } from "vitest";
import { TestCa } from "../testing/test-ca.js";
import { KeyPair } from "./key-pair.js";
import { leadsToTrusted, newerRoots, readTrustBundle } from "./trusted-roots.js";

const nowMs = Date.UTC(2026, 5, 1);
const ca = new TestCa({ nowMs, commonName: "old root" });
const other = new TestCa({ nowMs, commonName: "new root" });
const key = KeyPair.create();
const leaf = ca.issue({ spki: key.spki, dnsNames: ["x"], nowMs });

function bundleOf(bundle: Uint8Array[]): Message<"TrustBundle"> {
  return { type: "TrustBundle", generation: 3, bundle, renew: false };
}

test("a bundle of roots is taken as it is", () => {
  expect(readTrustBundle(bundleOf([ca.root, other.root]))).toEqual({
    generation: 3,
    roots: [ca.root, other.root],
  });
});

test.each([
  { name: "no certificate", bad: Uint8Array.of(1, 2, 3), says: "cannot be read" },
  { name: "a leaf", bad: leaf, says: "is no certificate authority's" },
  {
    name: "a root that somebody else has signed",
    bad: ca.crossSign(other),
    says: "is not self-signed",
  },
  {
    name: "a root of which a byte was changed",
    bad: other.root.map((byte, at) => (at === other.root.length - 1 ? byte ^ 1 : byte)),
    says: "is not self-signed",
  },
])("a bundle with $name among its roots is refused as a whole", ({ bad, says }) => {
  expect(() => readTrustBundle(bundleOf([ca.root, bad]))).toThrow(
    expect.objectContaining({ code: "CERTIFICATE_INVALID", message: expect.stringContaining(says) }),
  );
});

test("roots change with a newer generation only", () => {
  const known = { generation: 2, roots: [ca.root] };
  expect(newerRoots(known, { generation: 1, roots: [other.root] })).toBe(known);
  expect(newerRoots(known, { generation: 2, roots: [other.root] })).toBe(known);
  expect(newerRoots(known, { generation: 3, roots: [other.root] }).roots).toEqual([other.root]);
});

test("a chain with a cross-certificate leads to either root, and to no third", () => {
  const issued = other.issue({ spki: key.spki, dnsNames: ["x"], nowMs });
  const chain = [issued, ca.crossSign(other), ca.root, other.root];
  expect(leadsToTrusted(chain, { roots: [ca.root] })).toBe(true);
  expect(leadsToTrusted(chain, { roots: [other.root] })).toBe(true);
  expect(leadsToTrusted(chain, { roots: [new TestCa({ nowMs, commonName: "third root" }).root] })).toBe(
    false,
  );
  expect(leadsToTrusted([issued, other.root], { roots: [ca.root] })).toBe(false);
  expect(leadsToTrusted([], { roots: [ca.root] })).toBe(false);
});

test("a root of the same name with another key is another root", () => {
  const twin = new TestCa({ nowMs, commonName: "old root" });
  expect(leadsToTrusted([leaf, ca.root], { roots: [twin.root] })).toBe(false);
});

test("a chain over an intermediate leads to its root alone, and none that is refused leads anywhere", () => {
  const intermediate = new TestCa({ nowMs, commonName: "intermediate" });
  const issued = intermediate.issue({ spki: key.spki, dnsNames: ["x"], nowMs });
  const below = ca.crossSign(intermediate);
  const roots = [ca.root];
  const refusedIssuers = [sha256Of(below)];
  expect(leadsToTrusted([issued, below, ca.root], { roots })).toBe(true);
  expect(leadsToTrusted([issued, below], { roots })).toBe(true);
  expect(leadsToTrusted([issued, below], { roots: [other.root] })).toBe(false);
  expect(leadsToTrusted([issued, ca.root], { roots })).toBe(false);
  expect(leadsToTrusted([issued, other.crossSign(intermediate)], { roots })).toBe(false);
  expect(leadsToTrusted([issued, below], { roots, refusedIssuers })).toBe(false);
  expect(leadsToTrusted([leaf], { roots, refusedIssuers })).toBe(true);
  // The root that is coming, over the one of before: two between leaf and root, and no more.
  const rotating = [issued, other.crossSign(intermediate), ca.crossSign(other), ca.root, other.root];
  expect(leadsToTrusted(rotating, { roots })).toBe(true);
  expect(leadsToTrusted(rotating, { roots, refusedIssuers })).toBe(false);
  const third = new TestCa({ nowMs, commonName: "third root" });
  const long = [issued, other.crossSign(intermediate), third.crossSign(other), ca.crossSign(third)];
  expect(leadsToTrusted(long, { roots })).toBe(false);
});

test("what a leaf has signed leads nowhere", () => {
  const pretender = new TestCa({ nowMs, commonName: "pretender", isCa: false });
  const issued = pretender.issue({ spki: key.spki, dnsNames: ["x"], nowMs });
  expect(leadsToTrusted([issued, pretender.root], { roots: [pretender.root] })).toBe(false);
});

function sha256Of(der: Uint8Array): Uint8Array {
  return createHash("sha256").update(parseCertificate(der).spki).digest();
}
