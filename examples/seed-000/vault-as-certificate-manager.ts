/**
 * Seed 000, first sample: a vault inside this process as certificate manager. It is made on disk, gets a root of its
 * own and a role, and issues a certificate for a node.
 *
 *     node vault-as-certificate-manager.js [FOLDER]
 */
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  IssueCertificateResponse,
  openLmdbStorage,
  openVault,
  type IssueCertificateRequest,
  type RootGenerateRequest,
} from "@rk8s/control-plane";

// 1. A store on disk. What the vault writes is encrypted before it gets there.
const folder = process.argv[2] ?? (await mkdtemp(join(tmpdir(), "vault-demo-")));
await using storage = await openLmdbStorage({ folder });

// 2. Initialise and unseal. Shares and root token are seen this once.
await using vault = await openVault({ storage });
const { shares, rootToken } = await vault.init({ shares: 1, threshold: 1 });
await vault.unseal(shares[0]!);
await vault.write(rootToken, "sys/mounts/pki", { type: "pki" });

// 3. An internal root: its key never leaves the vault.
const root: RootGenerateRequest = { common_name: "rk8s Demo Root CA", ttl: "8760h" };
await vault.write(rootToken, "pki/root/generate/internal", { ...root });

// 4. A role limits who can ask for what.
await vault.write(rootToken, "pki/roles/rk8s-nodes", {
  allowed_domains: "svc.rk8s.local,node-01",
  allow_bare_domains: true,
  allow_subdomains: true,
  allow_any_name: false,
  server_flag: true,
  client_flag: true,
  ttl: "24h",
  max_ttl: "720h",
  no_store: true,
});

// 5. Issue a leaf certificate for a node.
const request: IssueCertificateRequest = {
  common_name: "node-01.svc.rk8s.local",
  alt_names: "node-01.svc.rk8s.local,node-01",
  ip_sans: "10.40.0.10",
  ttl: "12h",
};
const answer = await vault.write(rootToken, "pki/issue/rk8s-nodes", { ...request });
const issued = new IssueCertificateResponse(answer?.data ?? {});

console.log(issued.certificate);
console.log(`Serial number: ${issued.serial_number}`);
console.log(`Private key:   ${issued.private_key_type}, kept in this process`);
console.log(`Chain length:  ${issued.toCerts().length}`);
