import { encodePem } from "@rk8s/x509";
import { afterAll, beforeAll, test } from "vitest";
import { z } from "zod";
import { Cluster } from "./harness/cluster.js";
import { aKey, aRequest } from "./harness/raw-request.js";
import { expectConversation, type Step } from "./harness/replay.js";
import { commandLine, pkiCommands } from "./conversations/command-line.js";
import { gopki } from "./conversations/gopki.js";
import { terraform } from "./conversations/terraform.js";
import { type VaultApi, vaultApi } from "./harness/vault-api.js";
import * as shape from "./harness/vault-shapes.js";
import { enveloped, whole } from "./harness/vault-shapes.js";
import { type Wire, wireTo } from "./harness/wire.js";

/** What the Go client sends with everything. */
const GO = { "x-vault-request": "true", "user-agent": "Go-http-client/1.1", "accept-encoding": "gzip" };

let cluster: Cluster;
let root: VaultApi;
let wire: Wire;
beforeAll(async () => {
  cluster = await Cluster.start({ tls_config: { vault_folder: "./data", keep_dangerous_files: true } });
  root = await vaultApi(cluster);
  wire = await wireTo(cluster);
});
afterAll(async () => {
  wire?.[Symbol.dispose]();
  await cluster?.[Symbol.asyncDispose]();
});

/** As cert-manager makes them: every name is in the SAN, the subject is empty. */
const namelessCsr = encodePem(
  "CERTIFICATE REQUEST",
  aRequest({ key: aKey(), dnsNames: ["www.example.com"] }),
);

/** A PKI mount with a root and a role `web`, for clients that come to a vault which is set up. */
async function aReadyMount(name: string, role: object = {}): Promise<void> {
  await root.write(`sys/mounts/${name}`, { type: "pki", config: { max_lease_ttl: "87600h" } });
  await root.write(`${name}/root/generate/internal`, {
    common_name: `${name} root`,
    ttl: "87600h",
    key_type: "ec",
  });
  await root.write(`${name}/roles/web`, {
    allow_any_name: true,
    require_cn: false,
    key_type: "any",
    ...role,
  });
}

/** A token that may what its policy says, and what every token may. */
async function aToken(name: string, policy: string): Promise<string> {
  await root.write(`sys/policies/acl/${name}`, { policy });
  const { json } = await root.ask({
    method: "POST",
    path: "auth/token/create",
    body: { policies: [name], ttl: "1h" },
  });
  return z.object({ auth: z.object({ client_token: z.string() }) }).parse(json).auth.client_token;
}

test("cert-manager's issuer: health, a login of each kind, a certificate for a request", async () => {
  await aReadyMount("pki-cert-manager");
  const policy = `path "pki-cert-manager/sign*" { capabilities = ["create", "update"] }`;
  await root.write("sys/policies/acl/cert-manager", { policy });
  await root.write("sys/auth/approle", { type: "approle" });
  await root.write("auth/approle/role/cert-manager", { token_policies: "cert-manager", token_ttl: "20m" });
  const { role_id } = await root.read("auth/approle/role/cert-manager/role-id");
  const { secret_id } = await root.write("auth/approle/role/cert-manager/secret-id", {});

  // Everything is text, numbers and booleans included.
  const asked = {
    common_name: "",
    alt_names: "www.example.com,example.com",
    ip_sans: "",
    uri_sans: "",
    ttl: "2160h0m0s",
    csr: namelessCsr,
    exclude_cn_from_sans: "true",
  };
  const steps: readonly Step[] = [
    { asks: "GET /v1/sys/health", status: 200, answer: shape.health, isAnonymous: true },
    {
      asks: "POST /v1/auth/approle/login",
      body: { role_id, secret_id },
      status: 200,
      answer: shape.granted,
      keep: { token: "auth.client_token" },
      isAnonymous: true,
    },
    { asks: "POST /v1/pki-cert-manager/sign/web", body: asked, status: 200, answer: shape.signed },
    { asks: "PUT /v1/pki-cert-manager/sign/web", body: asked, status: 200, answer: shape.signed },
    { asks: "POST /v1/pki-cert-manager/sign-verbatim", body: asked, status: 200, answer: shape.signed },
    { asks: "POST /v1/pki-cert-manager/sign-verbatim/web", body: asked, status: 200, answer: shape.signed },
    { asks: "POST /v1/pki-cert-manager/issue/web", body: asked, status: 403, answer: shape.refusal },
    {
      asks: "POST /v1/auth/approle/login",
      body: { role_id, secret_id: "not this one" },
      status: 400,
      answer: shape.refusal,
      isAnonymous: true,
    },
  ];
  await expectConversation({ wire, headers: GO, values: {} }, steps);
});

test("cert-manager with a client's certificate instead of a secret", async () => {
  await aReadyMount("pki-clients", { server_flag: false, client_flag: true });
  const made = await root.write("pki-clients/issue/web", { common_name: "cert-manager", key_type: "ec" });
  await root.write("sys/auth/cert", { type: "cert" });
  await root.write("auth/cert/certs/issuers", {
    certificate: made["issuing_ca"],
    allowed_common_names: "cert-manager",
    token_policies: "default",
  });
  const identity = { cert: String(made["certificate"]), key: String(made["private_key"]) };
  using known = await wireTo(cluster, identity);
  const login: Step = {
    asks: "POST /v1/auth/cert/login",
    body: { name: "issuers" },
    status: 200,
    answer: shape.granted,
    keep: { token: "auth.client_token" },
    isAnonymous: true,
  };
  await expectConversation({ wire: known, headers: GO, values: {} }, [
    login,
    { asks: "GET /v1/auth/token/lookup-self", status: 200, answer: shape.tokenLookup },
  ]);
  const { keep: _, ...refused } = login;
  await expectConversation({ wire, headers: GO, values: {} }, [
    { ...refused, status: 400, answer: shape.refusal },
  ]);
});

test("Terraform's provider: a child token, then a mount with a root, a role and a certificate, there and back", async () => {
  await expectConversation({ wire, headers: GO, values: { token: root.token } }, terraform);
});

test("Terraform's provider cannot make its child token with one of limited use", async () => {
  const { json } = await root.ask({ method: "POST", path: "auth/token/create", body: { num_uses: 5 } });
  const limited = z.object({ auth: z.object({ client_token: z.string() }) }).parse(json).auth.client_token;
  const create = terraform[1]!;
  const { keep: _, ...asked } = create;
  await expectConversation({ wire, headers: GO, values: { token: limited } }, [
    { ...asked, status: 400, answer: shape.refusal },
  ]);
});

test("the command line of Vault and OpenBao: its verbs, one after the other", async () => {
  await expectConversation({ wire, headers: GO, values: { token: root.token } }, commandLine);
});

test("the command line wraps and unwraps", async () => {
  await root.write("sys/mounts/cli-wrap", { type: "kv" });
  const withTtl = { ...GO, "x-vault-wrap-ttl": "60s" };
  const put: Step = { asks: "PUT /v1/cli-wrap/a", body: { b: "c" }, status: 204 };
  const get: Step = {
    asks: "GET /v1/cli-wrap/a",
    status: 200,
    answer: shape.wrapped,
    keep: { wrapping: "wrap_info.token" },
  };
  const values = await expectConversation({ wire, headers: withTtl, values: { token: root.token } }, [
    put,
    get,
  ]);
  const lookup = { token: "{wrapping}" };
  const info = enveloped(
    z.looseObject({
      creation_path: z.literal("cli-wrap/a"),
      creation_time: shape.timestamp,
      creation_ttl: whole,
    }),
  );
  await expectConversation({ wire, headers: GO, values }, [
    { asks: "PUT /v1/sys/wrapping/lookup", body: lookup, status: 200, answer: info },
    {
      asks: "PUT /v1/sys/wrapping/unwrap",
      body: lookup,
      status: 200,
      answer: z.looseObject({ data: z.strictObject({ b: z.literal("c") }), wrap_info: z.null() }),
    },
    { asks: "PUT /v1/sys/wrapping/unwrap", body: lookup, status: 400, answer: shape.refusal },
  ]);
});

test("the command line's pki verbs: an intermediate by steps, what is listed, what a health check reads", async () => {
  await aReadyMount("cli-pki");
  await root.write("sys/mounts/cli-int", { type: "pki", config: { max_lease_ttl: "87600h" } });
  await expectConversation({ wire, headers: GO, values: { token: root.token } }, pkiCommands);
});

test("gopki: every call that its two packages make", async () => {
  await root.write("sys/mounts/gopki", { type: "pki", config: { max_lease_ttl: "87600h" } });
  await root.write("sys/mounts/gopki-int", { type: "pki", config: { max_lease_ttl: "87600h" } });
  const key = aKey();
  const token = await aToken(
    "gopki",
    `path "gopki/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "gopki-int/*" { capabilities = ["create", "read", "update", "delete", "list"] }`,
  );
  await expectConversation(
    { wire, headers: { "user-agent": "gopki-vault/1.0" }, values: { token } },
    gopki({
      csr: encodePem("CERTIFICATE REQUEST", aRequest({ key, commonNames: ["www.example.com"] })),
      key: key.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    }),
  );
});
