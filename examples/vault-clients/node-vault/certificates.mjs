// A certificate authority through node-vault. Reads VAULT_ADDR, VAULT_TOKEN and VAULT_CACERT.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import nodeVault from "node-vault";

const requestOptions = { ca: readFileSync(process.env.VAULT_CACERT) };
const vault = nodeVault({ endpoint: process.env.VAULT_ADDR, token: process.env.VAULT_TOKEN, requestOptions });

assert.equal((await vault.health()).sealed, false);
assert.equal((await vault.initialized()).initialized, true);
assert.equal((await vault.status()).sealed, false);

const mount = `pki-${randomUUID().slice(0, 8)}`;
await vault.mount({ mount_point: mount, type: "pki", description: "made by node-vault" });
assert.equal((await vault.mounts())[`${mount}/`].type, "pki");
await vault.write(`sys/mounts/${mount}/tune`, { max_lease_ttl: "8760h" });
const root = await vault.write(`${mount}/root/generate/internal`, {
  common_name: "node-vault example root",
  ttl: "8700h",
  key_type: "ec",
});
await vault.write(`${mount}/roles/web`, {
  allowed_domains: "example.com",
  allow_subdomains: true,
  key_type: "ec",
});
assert.deepEqual((await vault.list(`${mount}/roles`)).data.keys, ["web"]);
const issued = await vault.write(`${mount}/issue/web`, { common_name: "www.example.com", ttl: "24h" });
const serial = issued.data.serial_number;
assert.equal((await vault.read(`${mount}/cert/${serial}`)).data.certificate, issued.data.certificate);
await assert.rejects(
  vault.write(`${mount}/issue/web`, { common_name: "www.example.org" }),
  /not allowed by role/,
);
await assert.rejects(vault.read(`${mount}/roles/none`), /Status 404/);
await vault.write(`${mount}/revoke`, { serial_number: serial });
assert.ok((await vault.read(`${mount}/cert/${serial}`)).data.revocation_time > 0);

await vault.addPolicy({
  name: "node-vault",
  rules: `path "${mount}/roles/*" { capabilities = ["read", "list"] }`,
});
assert.ok((await vault.policies()).policies.includes("node-vault"));
assert.match((await vault.getPolicy({ name: "node-vault" })).rules, /capabilities/);
const { auth } = await vault.tokenCreate({ policies: ["node-vault"], ttl: "1h", num_uses: 0 });
// Creating a token made it the client's own.
assert.equal(vault.token, auth.client_token);
assert.equal((await vault.tokenLookupSelf()).data.ttl > 0, true);
assert.equal((await vault.tokenRenewSelf({ increment: "30m" })).auth.renewable, true);
assert.deepEqual((await vault.list(`${mount}/roles`)).data.keys, ["web"]);
await assert.rejects(
  vault.write(`${mount}/issue/web`, { common_name: "b.example.com" }),
  /permission denied/,
);
await vault.tokenRevokeSelf();
await assert.rejects(vault.tokenLookupSelf(), /permission denied/);

vault.token = process.env.VAULT_TOKEN;
await vault.mount({ mount_point: `${mount}-kv`, type: "kv", options: { version: "2" } });
await vault.write(`${mount}-kv/data/app/db`, { data: { password: "example" } });
await vault.update(`${mount}-kv/data/app/db`, { data: { user: "app" } });
assert.deepEqual((await vault.read(`${mount}-kv/data/app/db`)).data.data, {
  password: "example",
  user: "app",
});
assert.deepEqual((await vault.list(`${mount}-kv/metadata/app`)).data.keys, ["db"]);
await vault.unmount({ mount_point: `${mount}-kv` });
process.stdout.write(
  `${JSON.stringify({ serial, root: root.data.certificate, leaf: issued.data.certificate })}\n`,
);
