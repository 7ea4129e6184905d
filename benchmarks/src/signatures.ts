import "reflect-metadata";
import { generateKeyPairSync, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { systemClock } from "@rk8s/agent";
import { memoryStorage } from "@rk8s/control-plane";
import { parseCertificateRequest } from "@rk8s/x509";
import { ClusterCa } from "../../packages/control-plane/dist/pki/cluster-ca.js";
import { proveClusterRequest } from "../../packages/control-plane/dist/pki/cluster-request.js";
import { type Figure, median } from "./report.js";

const ROUNDS = 9;
const SLICE_MS = 400;
const TRUST_DOMAIN = "rk8s.local";
const NODE = "worker-1";
const P256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const HOUR_SECONDS = 3600;

/** A CSR in, its proof of possession checked, a leaf with the same extensions out; one after another. */
export async function signatures(): Promise<Figure[]> {
  const csr = await certificateRequest();
  const subjects = {
    "rk8s x509": await rk8sSigner(csr),
    "@peculiar/x509 with WebCrypto": await peculiarSigner(csr),
  };
  const perSecond = new Map<string, number[]>(Object.keys(subjects).map((name) => [name, []]));
  const cpuPerSignature = new Map<string, number[]>(Object.keys(subjects).map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, sign] of Object.entries(subjects)) {
      const { count, seconds, cpuMs } = await slice(sign);
      perSecond.get(name)!.push(count / seconds);
      cpuPerSignature.get(name)!.push((cpuMs * 1000) / count);
    }
  }
  return Object.keys(subjects).flatMap((subject) => [
    figure(subject, "CSR checked and certificate signed, P-256", median(perSecond.get(subject)!), "1/s"),
    figure(subject, "CPU per certificate", median(cpuPerSignature.get(subject)!), "µs"),
  ]);
}

function figure(subject: string, measure: string, value: number, unit: string): Figure {
  return { benchmark: "signatures", subject, measure, value, unit };
}

async function slice(
  sign: () => Promise<void> | void,
): Promise<{ count: number; seconds: number; cpuMs: number }> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  let count = 0;
  for (; performance.now() - start < SLICE_MS; count++) await sign();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { count, seconds, cpuMs: (user + system) / 1000 };
}

async function certificateRequest(): Promise<Uint8Array<ArrayBuffer>> {
  x509.cryptoProvider.set(webcrypto as Crypto);
  const keys = await webcrypto.subtle.generateKey(P256, true, ["sign", "verify"]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: `CN=${NODE}`,
    keys,
    signingAlgorithm: P256,
  });
  return new Uint8Array(request.rawData);
}

/** The cluster's CA as a join uses it, without the commit. */
async function rk8sSigner(csr: Uint8Array): Promise<() => void> {
  const storage = memoryStorage();
  const mount = {
    path: "rk8s-pki/",
    type: "rk8s-pki",
    accessor: "rk8s-pki_bench",
    options: {},
    storagePrefix: "pki/",
    defaultTtlSeconds: 0,
    maxTtlSeconds: 0,
  };
  const ca = await ClusterCa.open(mount, storage, { clock: systemClock });
  const init = { trustDomain: TRUST_DOMAIN, rootTtlSeconds: 24 * HOUR_SECONDS, commonName: "benchmark" };
  const { writes, wipe } = ca.initialize(init);
  await storage.transaction([], writes);
  wipe();
  await ca.reload();
  return () => {
    const proven = proveClusterRequest(parseCertificateRequest(csr));
    ca.prepareNodeCertificate({ csr: proven, nodeName: NODE, ttlSeconds: HOUR_SECONDS });
  };
}

/** As the library's documentation does it. */
async function peculiarSigner(csr: Uint8Array<ArrayBuffer>): Promise<() => Promise<void>> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const signingKey = await webcrypto.subtle.importKey(
    "pkcs8",
    privateKey.export({ type: "pkcs8", format: "der" }),
    P256,
    true,
    ["sign"],
  );
  const issuerKey = await webcrypto.subtle.importKey(
    "spki",
    publicKey.export({ type: "spki", format: "der" }),
    P256,
    true,
    ["verify"],
  );
  return async () => {
    const request = new x509.Pkcs10CertificateRequest(csr);
    if (!(await request.verify())) throw new Error("the request's signature does not verify");
    const { publicKey: key } = request;
    await x509.X509CertificateGenerator.create({
      serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(20))).toString("hex"),
      subject: `CN=${NODE}`,
      issuer: "CN=benchmark",
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + HOUR_SECONDS * 1000),
      signingKey,
      publicKey: key,
      signingAlgorithm: P256,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth], true),
        new x509.SubjectAlternativeNameExtension([
          { type: "url", value: `spiffe://${TRUST_DOMAIN}/node/${NODE}` },
        ]),
        await x509.SubjectKeyIdentifierExtension.create(key),
        await x509.AuthorityKeyIdentifierExtension.create(issuerKey),
      ],
    });
  };
}
