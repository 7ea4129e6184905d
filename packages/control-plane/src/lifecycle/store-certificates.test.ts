import { X509Certificate } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage, type Storage } from "@rk8s/storage";
import { assertServerLeaf, decodePemCertificates, parseClientLeaf } from "@rk8s/x509";
import { afterEach, beforeEach, expect, test } from "vitest";
import { aClusterCa, TRUST_DOMAIN } from "../join/testing/a-cluster-ca.js";
import { MemoryAudit } from "../join/testing/memory-audit.js";
import type { ClusterCa } from "../pki/cluster-ca.js";
import { takeStep } from "../pki/testing/rotating-ca.js";
import { readStoreCredentials } from "../store/store-credentials.js";
import { makeHostFolder, makeMemberFolder } from "./store-certificates.js";
import { futureCredentials } from "./future-credentials.js";
import { StoreClient, type StoreClientPorts } from "./store-client.js";
import { publishRoots } from "./root-file.js";
import { vaultFolderAt } from "./vault-folder.js";

const DAY_MS = 86_400_000;

let folder: string;
let clock: FakeClock;
let barrier: Storage;
let clusterCa: ClusterCa;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-store-certs-"));
  clock = new FakeClock();
  barrier = memoryStorage();
  clusterCa = await aClusterCa(barrier, clock);
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const leafOf = async (...path: string[]): Promise<X509Certificate> =>
  new X509Certificate(await readFile(join(folder, ...path)));

function aClient(
  file: string,
  ports: Partial<Pick<StoreClientPorts, "audit" | "onRenewed">> = {},
): StoreClient {
  const { audit = new MemoryAudit(), onRenewed = () => Promise.resolve() } = ports;
  return new StoreClient(file, { clusterCa, barrier, audit, clock, logger: silentLogger, onRenewed });
}

test("a member's folder holds its three certificates, each with a key of its own that only the owner can read", async () => {
  const made = await makeMemberFolder(folder, "https://store-1.example:2379", { clusterCa, barrier });
  expect(made).toBe(join(folder, "xline-store-1.example-2379"));
  expect(await readdir(made)).toEqual([
    "ca.pem",
    ...["client", "peer", "server"].flatMap((part) => [`${part}.key`, `${part}.pem`]),
  ]);
  for (const part of ["server", "peer", "client"]) {
    const leaf = await leafOf("xline-store-1.example-2379", `${part}.pem`);
    expect(leaf.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    expect(leaf.verify(new X509Certificate(clusterCa.root).publicKey)).toBe(true);
    expect((await stat(join(made, `${part}.key`))).mode & 0o777).toBe(0o600);
  }
});

test.each([
  ["https://store-1:2379", "store-1", "DNS:store-1"],
  ["https://10.0.0.7:2379", "10.0.0.7", "IP Address:10.0.0.7"],
  ["https://[2001:db8::7]:2379", "2001:db8::7", "IP Address:2001:DB8:0:0:0:0:0:7"],
])("%s is certified for its own host alone", async (endpoint, name, alternative) => {
  const made = await makeMemberFolder(folder, endpoint, { clusterCa, barrier });
  const read = async (part: string): Promise<X509Certificate> =>
    new X509Certificate(await readFile(join(made, `${part}.pem`)));
  const [server, peer, client] = [await read("server"), await read("peer"), await read("client")];
  expect([server.subject, server.subjectAltName]).toEqual([`CN=${name}`, alternative]);
  expect([peer.subject, peer.subjectAltName]).toEqual(["CN=rks-store-peer", alternative]);
  expect([client.subject, client.subjectAltName]).toEqual(["CN=rks-store", "DNS:rks-store"]);
});

test("no certificate of the store passes for a server, a node or an operator of the cluster (law 4)", () => {
  for (const [part, host] of [
    ["server", "worker-1"],
    ["peer", "worker-1"],
    ["client", undefined],
  ] as const) {
    const { certificate } = clusterCa.prepareStoreCertificate({ part, host, ttlSeconds: 60 });
    expect(() => parseClientLeaf(certificate, { trustDomain: TRUST_DOMAIN })).toThrow(
      expect.objectContaining({ code: "CLIENT_CERTIFICATE_REFUSED" }),
    );
    expect(() => assertServerLeaf(certificate, { dnsName: "rks-cluster" })).toThrow(
      expect.objectContaining({ code: "SERVER_UNTRUSTED" }),
    );
  }
});

test.each(["rks-cluster", "RKS-Cluster", "rks-store", "*.example", "a b"])(
  "a member cannot be called %s",
  (host) => {
    expect(() => clusterCa.prepareStoreCertificate({ part: "server", host, ttlSeconds: 60 })).toThrow(
      expect.objectContaining({ code: "INPUT_INVALID" }),
    );
  },
);

test("a folder that is made again replaces the old one, and is whole at any time", async () => {
  const first = await makeMemberFolder(folder, "https://store-1:2379", { clusterCa, barrier });
  const before = await readFile(join(first, "server.key"));
  const again = await makeMemberFolder(folder, "https://store-1:2379", { clusterCa, barrier });
  expect(again).toBe(first);
  expect(await readFile(join(first, "server.key"))).not.toEqual(before);
  expect(await readdir(folder)).toEqual(["xline-store-1-2379"]);
});

test("another host gets the roots and a key and certificate of its own", async () => {
  const made = await makeHostFolder(folder, "two", { clusterCa, barrier });
  expect(await readdir(made)).toEqual(["root.pem", "xline-client.pem"]);
  const credentials = await readStoreCredentials(vaultFolderAt(made));
  expect(new X509Certificate(credentials.certificate).subject).toBe("CN=rks-store");
  expect(Buffer.from(credentials.privateKey).toString()).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
  expect((await stat(join(made, "xline-client.pem"))).mode & 0o777).toBe(0o600);
});

test("what cannot be used as credentials is refused without showing it", async () => {
  const vaultFolder = vaultFolderAt(folder);
  await expect(readStoreCredentials(vaultFolder)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  await publishRoots(vaultFolder.rootCertificate, [clusterCa.root]);
  await publishRoots(vaultFolder.storeClient, [clusterCa.root]);
  await expect(readStoreCredentials(vaultFolder)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

test("rks' own certificate is made once, renewed at two thirds of its life, and when the root has changed", async () => {
  const { storeClient: file } = vaultFolderAt(folder);
  const audit = new MemoryAudit();
  let renewals = 0;
  const client = aClient(file, { audit, onRenewed: () => Promise.resolve(void (renewals += 1)) });
  await client.ensure();
  await client.ensure();
  expect(renewals).toBe(1);
  clock.advance(59 * DAY_MS);
  await client.ensure();
  expect(renewals).toBe(1);
  clock.advance(2 * DAY_MS);
  await client.ensure();
  expect(renewals).toBe(2);
  for (const step of ["prepare", "activate"] as const) {
    await takeStep(clusterCa, barrier, step, { rootTtlSeconds: 86_400 * 365 });
  }
  await client.ensure();
  expect(renewals).toBe(3);
  await client.ensure();
  expect(renewals).toBe(3);
  expect(audit.lines.filter(({ type }) => type === "intent")).toHaveLength(3);
});

test("what rks will show when the other root is gone leads to the one that signs alone, with the key that it has", async () => {
  const vaultFolder = vaultFolderAt(folder);
  const client = aClient(vaultFolder.storeClient);
  await client.look();
  expect(await readdir(folder)).toEqual([]);
  await client.ensure();
  for (const step of ["prepare", "activate"] as const) {
    await takeStep(clusterCa, barrier, step, { rootTtlSeconds: 86_400 * 365 });
  }
  await publishRoots(vaultFolder.rootCertificate, clusterCa.trust().bundle);
  await client.look();
  const now = await readStoreCredentials(vaultFolder);
  const future = await futureCredentials(vaultFolder, clusterCa.roots);
  const [present, coming] = [now, future].map(({ certificate }) => decodePemCertificates(certificate));
  expect(present).toHaveLength(4);
  expect(coming).toEqual([present![0], clusterCa.root]);
  expect(decodePemCertificates(future.ca)).toEqual([clusterCa.root]);
  expect(future.privateKey).toEqual(now.privateKey);
  expect(new X509Certificate(coming![0]!).verify(new X509Certificate(clusterCa.root).publicKey)).toBe(true);
});

test("after a way back the certificate is of the root that signs again", async () => {
  const { storeClient: file } = vaultFolderAt(folder);
  const client = aClient(file);
  await client.ensure();
  for (const step of ["prepare", "activate", "rollback", "activate", "rollback"] as const) {
    await takeStep(clusterCa, barrier, step, { rootTtlSeconds: 86_400 * 365 });
    await client.look();
    const [leaf] = decodePemCertificates(await readFile(file));
    expect(new X509Certificate(leaf!).verify(new X509Certificate(clusterCa.root).publicKey)).toBe(true);
  }
});
