import { createHash, generateKeyPairSync, sign } from "node:crypto";
import {
  assembleCertificateRequest,
  buildCertificateRequestInfo,
  decodePemCertificates,
  encodeName,
  encodeOcspCertId,
  encodeOcspRequest,
  encodePem,
  encodeSignatureAlgorithm,
  OID,
  parseCertificate,
  subjectPublicKeyBits,
} from "@rk8s/x509";
import type { Figure } from "./report.js";
import { type Load, underLoad } from "./vault-load.js";
import { type VaultServer, vaultServers } from "./vault-server.js";

const REQUESTS = 6000;
const SLOW_REQUESTS = 2000;
const RSA_REQUESTS = 60;
const MOUNT = "bench-pki";
const KV = "bench-kv";

/** Certificates, OCSP answers and secrets per second over HTTPS, with a file audit device. */
export async function vault(): Promise<Figure[]> {
  const servers = await vaultServers();
  try {
    const perServer: Figure[][] = [];
    for (const server of servers) perServer.push(await measure(server));
    return perServer.flat();
  } finally {
    for (const server of servers) await server[Symbol.asyncDispose]();
  }
}

async function measure(server: VaultServer): Promise<Figure[]> {
  await using admin = server.connect();
  await admin.ask("POST", `sys/mounts/${MOUNT}`, { type: "pki", config: { max_lease_ttl: "87600h" } });
  const root = { common_name: "bench root", key_type: "ec", ttl: "80000h" };
  const { certificate } = await admin.ask("POST", `${MOUNT}/root/generate/internal`, root);
  const role = { allowed_domains: "example.com", allow_subdomains: true, key_type: "ec", ttl: "24h" };
  await admin.ask("POST", `${MOUNT}/roles/stored`, role);
  await admin.ask("POST", `${MOUNT}/roles/unstored`, { ...role, no_store: true });
  await admin.ask("POST", `${MOUNT}/roles/rsa`, { ...role, key_type: "rsa", key_bits: 2048, no_store: true });
  await admin.ask("POST", `sys/mounts/${KV}`, { type: "kv", options: { version: "2" } });
  const leaf = await admin.ask("POST", `${MOUNT}/issue/stored`, { common_name: "ocsp.example.com" });
  await admin.ask("POST", `${KV}/data/read`, { data: { value: "x".repeat(64) } });

  const body = { csr: aCsr("www.example.com"), common_name: "www.example.com" };
  const ocsp = ocspRequest(String(certificate), String(leaf["serial_number"]));
  const named = (index: number): object => ({
    common_name: `h${index < 0 ? `w${-index}` : index}.example.com`,
  });
  const loads: Omit<Load, "benchmark">[] = [];
  for (const clients of [1, 32]) {
    const requests = clients === 1 ? SLOW_REQUESTS : REQUESTS;
    const every = { clients, requests };
    loads.push(
      {
        ...every,
        measure: "sign P-256, no_store",
        work: (on) => on.ask("POST", `${MOUNT}/sign/unstored`, body),
      },
      { ...every, measure: "sign P-256, stored", work: (on) => on.ask("POST", `${MOUNT}/sign/stored`, body) },
      {
        ...every,
        measure: "issue P-256, no_store",
        work: (on, index) => on.ask("POST", `${MOUNT}/issue/unstored`, named(index)),
      },
      {
        ...every,
        measure: "issue P-256, stored",
        work: (on, index) => on.ask("POST", `${MOUNT}/issue/stored`, named(index)),
      },
      { ...every, measure: "OCSP", work: (on) => on.exchange(`${MOUNT}/ocsp`, ocsp) },
      { ...every, measure: "KV read", work: (on) => on.ask("GET", `${KV}/data/read`) },
      {
        ...every,
        measure: "KV write",
        work: (on, index) =>
          on.ask("POST", `${KV}/data/write-${index % 100}`, { data: { value: "x".repeat(64) } }),
      },
    );
  }
  loads.push({
    clients: 4,
    requests: RSA_REQUESTS,
    measure: "issue RSA-2048, no_store",
    work: (on, index) => on.ask("POST", `${MOUNT}/issue/rsa`, named(index)),
  });
  const figures: Figure[] = [];
  for (const load of loads) figures.push(...(await underLoad(server, { benchmark: "vault", ...load })));
  await admin.ask("DELETE", `sys/mounts/${MOUNT}`);
  await admin.ask("DELETE", `sys/mounts/${KV}`);
  return figures;
}

/** A PEM certificate request with a P-256 key. */
export function aCsr(commonName: string): string {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const tbs = buildCertificateRequestInfo({
    subject: encodeName([{ type: OID.commonName, value: commonName }]),
    spki: publicKey.export({ type: "spki", format: "der" }),
    extensions: [],
  });
  const algorithm = encodeSignatureAlgorithm("ecdsa-sha256");
  const der = assembleCertificateRequest(tbs, algorithm, sign("sha256", tbs, privateKey));
  return encodePem("CERTIFICATE REQUEST", der);
}

/** What a client asks the responder about one certificate (RFC 6960 §4.1). */
export function ocspRequest(
  issuerPem: string,
  serial: string,
): { readonly type: string; readonly bytes: Uint8Array } {
  const [der] = decodePemCertificates(issuerPem);
  if (der === undefined) throw new Error("the root has no certificate");
  const issuer = parseCertificate(der);
  const certId = encodeOcspCertId({
    hash: "sha256",
    issuerNameHash: createHash("sha256").update(issuer.subject.der).digest(),
    issuerKeyHash: createHash("sha256")
      .update(subjectPublicKeyBits(issuer.spki, { code: "CERTIFICATE_INVALID" }))
      .digest(),
    serialNumber: Buffer.from(serial.replaceAll(":", ""), "hex"),
  });
  return { type: "application/ocsp-request", bytes: encodeOcspRequest({ certIds: [certId] }) };
}
