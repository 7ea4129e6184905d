// Certificates through hashi-vault-js, which has calls of its own for PKI. Reads VAULT_ADDR, VAULT_TOKEN and VAULT_CACERT.
// Needs a PKI mount with a root; its name is the argument.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import Vault from "hashi-vault-js";

const [mount] = process.argv.slice(2);
const token = process.env.VAULT_TOKEN;
const cacert = readFileSync(process.env.VAULT_CACERT);
const vault = new Vault({
  https: true,
  baseUrl: `${process.env.VAULT_ADDR}/v1`,
  rootPath: mount,
  cacert,
  timeout: 10_000,
  proxy: false,
});

assert.equal((await vault.healthCheck()).sealed, false);
await vault.createPkiRole(
  token,
  "server",
  { allowed_domains: ["example.com"], allow_subdomains: true, key_type: "ec", max_ttl: "72h" },
  mount,
);
const role = await vault.readPkiRole(token, "server", mount);
assert.deepEqual(role.allowed_domains, ["example.com"]);
assert.ok((await vault.listPkiRoles(token, mount)).keys.includes("server"));
const issued = await vault.genPkiCertificate(
  token,
  "server",
  { common_name: "www.example.com", ttl: "24h" },
  mount,
);
assert.match(issued.private_key, /^-----BEGIN EC PRIVATE KEY-----/);
const read = await vault.readCertificate(issued.serial_number, mount);
assert.equal(read.certificate, issued.certificate);
assert.ok((await vault.listCertificates(token, mount)).keys.includes(issued.serial_number));
const revoked = await vault.revokePkiCertificate(token, issued.serial_number, mount);
assert.ok(revoked.revocation_time > 0);
await vault.deletePkiRole(token, "server", mount);
process.stdout.write(`${JSON.stringify({ serial: issued.serial_number, leaf: issued.certificate })}\n`);
