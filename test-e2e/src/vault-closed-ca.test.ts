import { readFile } from "node:fs/promises";
import { encodePem } from "@rk8s/x509";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ApiOperation, apiOperations, pathOf } from "./harness/api-operations.js";
import { Cluster } from "./harness/cluster.js";
import { Forger } from "./harness/forger.js";
import { aKey, aRequest } from "./harness/raw-request.js";
import { type VaultApi, vaultApi } from "./harness/vault-api.js";
import { socketWireTo, type Wire, type WireReply, wireTo } from "./harness/wire.js";

/** Law 4: the cluster's own CA gives nothing and takes nothing, whatever a root token asks for. */
let cluster: Cluster;
let root: VaultApi;
let wire: Wire;
beforeAll(async () => {
  cluster = await Cluster.start({ tls_config: { vault_folder: "./data", keep_dangerous_files: true } });
  root = await vaultApi(cluster);
  wire = await wireTo(cluster);
  await root.write("sys/mounts/pki", { type: "pki" });
});
afterAll(async () => {
  wire?.[Symbol.dispose]();
  await cluster?.[Symbol.asyncDispose]();
});

const WRITES = ["POST", "PUT", "PATCH", "DELETE"];
const CSR = encodePem("CERTIFICATE REQUEST", aRequest({ key: aKey(), commonNames: ["rks-cluster"] }));
/** Everything that some PKI path could need to do its work. */
const EVERYTHING = JSON.stringify({
  common_name: "rks-cluster",
  csr: CSR,
  key_type: "ec",
  pem_bundle: CSR,
  certificate: CSR,
  serial_number: "39:dd",
  default: "default",
  allow_any_name: true,
  url: "http://127.0.0.1:1",
});
const WORDS: Readonly<Record<string, string>> = {
  role: "rkl-node",
  name: "rkl-node",
  issuer_ref: "default",
  key_ref: "default",
  type: "exported",
  serial: "39:dd",
};
const headersFor = (method: string): Record<string, string> => ({
  "content-type": method === "PATCH" ? "application/merge-patch+json" : "application/json",
});

/** What everybody may see of the CA; two looks at the same CA are equal. */
async function lookAtCa(): Promise<object> {
  const paths = [
    "ca/pem",
    "ca_chain",
    "cert/ca",
    "roles?list=true",
    "roles/rks-node",
    "roles/rkl-node",
    "roles/operator",
  ];
  const seen = await Promise.all(paths.map((path) => root.ask({ method: "GET", path: `rk8s-pki/${path}` })));
  const { "rk8s-pki/": mount } = await root.read("sys/mounts");
  const content = (text: string): string => text.replace(/"request_id":"[^"]*"/, "");
  return { mount, seen: seen.map(({ status, text }) => ({ status, text: content(text) })) };
}

/** Every PKI path as a user's mount serves it, in the cluster's own. */
async function pkiPaths(): Promise<readonly string[]> {
  const isPki = ({ template }: ApiOperation): boolean => template.startsWith("/pki/");
  const operations = (await apiOperations(root)).filter(isPki);
  const paths = operations.map((one) =>
    pathOf(one, (name) => WORDS[name] ?? "x").replace("/v1/pki/", "/v1/rk8s-pki/"),
  );
  // Of later versions, and of older ones.
  const others = [
    "acme/new-account",
    "acme/directory",
    "config/acme",
    "eab",
    "unified-crl",
    "key/default/export",
    "root",
  ];
  return [...new Set([...paths, ...others.map((path) => `/v1/rk8s-pki/${path}`)])];
}

/** A question in the form of a write: whether certificates are revoked. */
const OCSP = "/v1/rk8s-pki/ocsp";

const isDone = ({ status }: WireReply): boolean => status < 400;

test("every write that a PKI mount knows is refused, over HTTPS with the root token and over the socket", async () => {
  const before = await lookAtCa();
  const socket = socketWireTo(cluster);
  const done: string[] = [];
  const paths = await pkiPaths();
  expect(paths.length).toBeGreaterThan(80);
  for (const path of paths) {
    for (const method of WRITES) {
      const request = { method, path, body: EVERYTHING, headers: headersFor(method) };
      for (const reply of [await wire.send({ ...request, token: root.token }), await socket.send(request)]) {
        if ((isDone(reply) && path !== OCSP) || /-----BEGIN/.test(reply.text))
          done.push(`${method} ${path}: ${reply.status}`);
      }
    }
  }
  expect(done).toEqual([]);
  expect(await lookAtCa()).toEqual(before);
});

test("what can be read there is public: certificates, what is revoked, roles, and never a key", async () => {
  const served: string[] = [];
  for (const path of await pkiPaths()) {
    for (const method of ["GET", "LIST", "SCAN"]) {
      const reply = await wire.send({ method, path, token: root.token });
      expect(reply.text).not.toContain("PRIVATE KEY");
      expect(reply.status).toBeLessThan(500);
      if (isDone(reply)) served.push(`${method} ${path}`);
    }
  }
  expect(served.toSorted()).toEqual([
    "GET /v1/rk8s-pki/ca",
    "GET /v1/rk8s-pki/ca/pem",
    "GET /v1/rk8s-pki/ca_chain",
    "GET /v1/rk8s-pki/cert/ca",
    "GET /v1/rk8s-pki/cert/ca_chain",
    "GET /v1/rk8s-pki/cert/crl",
    "GET /v1/rk8s-pki/crl",
    "GET /v1/rk8s-pki/crl/pem",
    "GET /v1/rk8s-pki/issuer/default/crl/der",
    "GET /v1/rk8s-pki/issuer/default/crl/pem",
    "GET /v1/rk8s-pki/ocsp/x",
    "GET /v1/rk8s-pki/roles/rkl-node",
    "LIST /v1/rk8s-pki/roles",
  ]);
});

test("the procedure for an offline root takes no key: a certificate for any other than its own is refused", async () => {
  const before = await lookAtCa();
  const { data } = JSON.parse((await caStep("csr")).text) as { data: { csr: string } };
  const forger = Forger.foreign("a root of the attacker's");
  const { certificate, key } = forger.intermediate("an intermediate of the attacker's");
  const [intermediate, foreignRoot] = [certificate, forger.root].map((der) => encodePem("CERTIFICATE", der));
  const privateKey = encodePem("PRIVATE KEY", key.pkcs8);
  const bundles = [
    `${intermediate}${foreignRoot}`,
    `${foreignRoot}${foreignRoot}`,
    `${foreignRoot}${data.csr}`,
    `${intermediate}${foreignRoot}${privateKey}`,
    await readFile(cluster.rootCertPath, "utf8"),
    CSR,
    "",
  ];
  for (const certificates of bundles) {
    for (const step of ["prepare", "renew"]) {
      const { status, text } = await caStep(step, { certificates });
      expect([400, 409]).toContain(status);
      expect(text).not.toMatch(/-----BEGIN/);
    }
  }
  const stray = { certificates: bundles[0], private_key: privateKey };
  for (const step of ["activate", "retire", "taint", "revoke", "rollback", "prepare", "renew", "csr"]) {
    expect((await caStep(step, stray)).status).toBe(400);
  }
  expect(await lookAtCa()).toEqual(before);
});

/** A step at the cluster's CA, with the root token. */
async function caStep(step: string, body: object = {}): Promise<WireReply> {
  return wire.send({
    method: "POST",
    path: `/v1/rk8s/ca/${step}`,
    token: root.token,
    body: JSON.stringify(body),
    headers: headersFor("POST"),
  });
}

/** Ways to put something else in the place of the CA, or the CA in another place. */
const MOVES: readonly { readonly name: string; readonly asks: string; readonly body?: object }[] = [
  { name: "unmount it", asks: "DELETE sys/mounts/rk8s-pki" },
  { name: "unmount it, with a slash", asks: "DELETE sys/mounts/rk8s-pki/" },
  { name: "tune it", asks: "POST sys/mounts/rk8s-pki/tune", body: { max_lease_ttl: "87600h" } },
  {
    name: "tune it as a login method",
    asks: "POST sys/auth/rk8s-pki/tune",
    body: { max_lease_ttl: "87600h" },
  },
  { name: "mount over it", asks: "POST sys/mounts/rk8s-pki", body: { type: "pki" } },
  { name: "mount below it", asks: "POST sys/mounts/rk8s-pki/roles", body: { type: "kv" } },
  { name: "mount deep below it", asks: "POST sys/mounts/rk8s-pki/a/b", body: { type: "pki" } },
  { name: "mount a kind of it", asks: "POST sys/mounts/mine", body: { type: "rk8s-pki" } },
  { name: "move it away", asks: "POST sys/remount", body: { from: "rk8s-pki", to: "mine" } },
  { name: "move it away, with slashes", asks: "POST sys/remount", body: { from: "/rk8s-pki/", to: "mine/" } },
  { name: "move into its place", asks: "POST sys/remount", body: { from: "movable", to: "rk8s-pki" } },
  { name: "move below it", asks: "POST sys/remount", body: { from: "movable", to: "rk8s-pki/x" } },
  { name: "move by a way around", asks: "POST sys/remount", body: { from: "movable", to: "x/../rk8s-pki" } },
  { name: "mount it in other letters", asks: "POST sys/mounts/RK8S-PKI", body: { type: "pki" } },
  { name: "mount it in wide letters", asks: "POST sys/mounts/rk8s%EF%BC%8Dpki", body: { type: "pki" } },
  { name: "mount it with a blank", asks: "POST sys/mounts/rk8s-pki%20", body: { type: "pki" } },
  { name: "mount it with a slash in its name", asks: "POST sys/mounts/rk8s-pki%2f", body: { type: "pki" } },
  { name: "mount it by a way around", asks: "POST sys/mounts/x/../rk8s-pki", body: { type: "pki" } },
  {
    name: "mount it with an invisible letter",
    asks: "POST sys/mounts/rk8s-pki%E2%80%8B",
    body: { type: "pki" },
  },
];

test.each(MOVES)("nobody can $name", async ({ asks, body }) => {
  await root.ask({ method: "POST", path: "sys/mounts/movable", body: { type: "kv" } });
  const before = await lookAtCa();
  const [method = "", path = ""] = asks.split(" ");
  const request = {
    method,
    path: `/v1/${path}`,
    body: body === undefined ? undefined : JSON.stringify(body),
    headers: headersFor(method),
  };
  for (const reply of [
    await wire.send({ ...request, token: root.token }),
    await socketWireTo(cluster).send(request),
  ]) {
    expect([400, 403, 404]).toContain(reply.status);
  }
  expect(await lookAtCa()).toEqual(before);
});

test("a certificate of the cluster's CA makes no issuer of a user's mount that could sign", async () => {
  await root.write("sys/mounts/other", { type: "pki" });
  const ca = await readFile(cluster.rootCertPath, "utf8");
  const imported = await root.write("other/issuers/import/bundle", { pem_bundle: ca });
  const [issuer] = imported["imported_issuers"] as string[];
  await root.write("other/roles/any", { allow_any_name: true, key_type: "any" });
  const asked = { common_name: "rks-cluster", csr: CSR, key_type: "ec" };
  for (const path of ["sign/any", "issue/any", "sign-verbatim", "sign-intermediate"]) {
    const reply = await root.ask({
      method: "POST",
      path: `other/issuer/${String(issuer)}/${path}`,
      body: asked,
    });
    expect({ path, status: reply.status }).toEqual({ path, status: 400 });
  }
});
