// Certificates through hashi-vault-js, which has calls of its own for PKI. Reads VAULT_ADDR, VAULT_TOKEN and
// VAULT_CACERT. Needs a PKI mount with a root; its name is the argument.
import assert from "node:assert/strict";
import Vault from "hashi-vault-js";

const [mount] = process.argv.slice(2);
const token = process.env.VAULT_TOKEN;
const baseUrl = `${process.env.VAULT_ADDR}/v1`;
const vault = new Vault({
  https: true,
  baseUrl,
  rootPath: mount,
  cacert: process.env.VAULT_CACERT,
  timeout: 10_000,
});

assert.equal((await vault.healthCheck()).sealed, false);
const role = {
  name: "server",
  allowedDomains: ["example.com"],
  allowSubdomains: true,
  keyType: "ec",
  maxTtl: "72h",
};
await vault.createPkiRole(token, role);
assert.deepEqual((await vault.readPkiRole(token, "server")).allowed_domains, ["example.com"]);
assert.ok((await vault.listPkiRoles(token)).keys.includes("server"));
const wanted = { role: "server", commonName: "www.example.com", ttl: "24h", format: "pem" };
const issued = await vault.genPkiCertificate(token, wanted);
assert.match(issued.private_key, /^-----BEGIN EC PRIVATE KEY-----/);
const read = await vault.readCertificate(issued.serial_number);
assert.equal(read.certificate, issued.certificate);
assert.ok((await vault.listCertificates(token)).keys.includes(issued.serial_number));
const revoked = await vault.revokePkiCertificate(token, issued.serial_number);
assert.ok(revoked.revocation_time > 0);
await vault.deletePkiRole(token, "server");
process.stdout.write(`${JSON.stringify({ serial: issued.serial_number, leaf: issued.certificate })}\n`);
