import { z } from "zod";
import type { Step } from "../harness/replay.js";
import * as shape from "../harness/vault-shapes.js";
import { enveloped, listed, whole } from "../harness/vault-shapes.js";

/** `vault` and `bao`: lists are a GET with a query, writes are PUT. */
export const commandLine: readonly Step[] = [
  // operator init -status, status, login
  {
    asks: "GET /v1/sys/init",
    status: 200,
    answer: z.strictObject({ initialized: z.literal(true) }),
    isAnonymous: true,
  },
  {
    asks: "PUT /v1/sys/init",
    body: { secret_shares: 5, secret_threshold: 3, pgp_keys: null, root_token_pgp_key: "", stored_shares: 0 },
    status: 400,
    answer: shape.refusal,
    isAnonymous: true,
  },
  { asks: "GET /v1/sys/seal-status", status: 200, answer: shape.sealStatus, isAnonymous: true },
  { asks: "GET /v1/sys/leader", status: 200, answer: shape.leader, isAnonymous: true },
  { asks: "GET /v1/auth/token/lookup-self", status: 200, answer: shape.tokenLookup },
  // secrets enable, list, tune, move
  {
    asks: "POST /v1/sys/mounts/cli-kv",
    body: {
      type: "kv",
      description: "",
      config: { options: null, default_lease_ttl: "", max_lease_ttl: "", force_no_cache: false },
      local: false,
      seal_wrap: false,
      external_entropy_access: false,
      options: { version: "2" },
    },
    status: 204,
  },
  { asks: "GET /v1/sys/mounts", status: 200, answer: shape.mountTable },
  // kv put, get, patch, list, metadata, delete, destroy
  {
    asks: "GET /v1/sys/internal/ui/mounts/cli-kv/app",
    status: 200,
    answer: enveloped(
      z.looseObject({
        path: z.literal("cli-kv/"),
        type: z.literal("kv"),
        options: z.object({ version: z.literal("2") }),
      }),
    ),
  },
  { asks: "GET /v1/cli-kv/data/app", status: 404, answer: shape.nothingThere },
  {
    asks: "PUT /v1/cli-kv/data/app",
    body: { data: { user: "u", count: 3, nested: { a: [1, "x", null, true] } }, options: {} },
    status: 200,
    answer: enveloped(
      z.looseObject({
        version: z.literal(1),
        created_time: shape.timestamp,
        deletion_time: z.literal(""),
        destroyed: z.literal(false),
        custom_metadata: z.null(),
      }),
    ),
  },
  {
    asks: "GET /v1/cli-kv/data/app?version=1",
    status: 200,
    answer: enveloped(
      z.looseObject({
        data: z.strictObject({
          user: z.literal("u"),
          count: z.literal(3),
          nested: z.strictObject({ a: z.tuple([z.literal(1), z.literal("x"), z.null(), z.literal(true)]) }),
        }),
        metadata: z.looseObject({ version: z.literal(1) }),
      }),
    ),
  },
  {
    asks: "PUT /v1/cli-kv/data/app",
    body: { data: { user: "v" }, options: { cas: 0 } },
    status: 400,
    answer: shape.refusal,
  },
  { asks: "GET /v1/cli-kv/metadata?list=true", status: 200, answer: listed() },
  { asks: "GET /v1/cli-kv/metadata/?list=true", status: 200, answer: listed() },
  {
    asks: "GET /v1/cli-kv/metadata/app",
    status: 200,
    answer: enveloped(
      z.looseObject({
        current_version: whole,
        oldest_version: whole,
        max_versions: whole,
        cas_required: z.boolean(),
        versions: z.record(z.string(), z.looseObject({ destroyed: z.boolean() })),
      }),
    ),
  },
  { asks: "DELETE /v1/cli-kv/data/app", status: 204 },
  {
    asks: "GET /v1/cli-kv/data/app",
    status: 404,
    answer: z.looseObject({
      data: z.looseObject({ data: z.null(), metadata: z.looseObject({ deletion_time: shape.timestamp }) }),
    }),
  },
  { asks: "PUT /v1/cli-kv/undelete/app", body: { versions: ["1"] }, status: 204 },
  { asks: "PUT /v1/cli-kv/destroy/app", body: { versions: ["1"] }, status: 204 },
  { asks: "DELETE /v1/cli-kv/metadata/app", status: 204 },
  { asks: "GET /v1/cli-kv/metadata?list=true", status: 404, answer: shape.nothingThere },
  // policy write, list, read
  {
    asks: "PUT /v1/sys/policies/acl/cli",
    body: { policy: `path "cli-kv/*" { capabilities = ["read"] }` },
    status: 204,
  },
  { asks: "GET /v1/sys/policies/acl?list=true", status: 200, answer: listed() },
  {
    asks: "GET /v1/sys/policies/acl/cli",
    status: 200,
    answer: z.looseObject({ data: z.looseObject({ policy: z.string() }) }),
  },
  {
    asks: "GET /v1/sys/policy",
    status: 200,
    answer: shape.repeated({ keys: z.array(z.string()), policies: z.array(z.string()) }),
  },
  // token create, lookup, capabilities, renew, revoke
  {
    asks: "POST /v1/auth/token/create",
    body: {
      policies: ["cli"],
      ttl: "1h",
      explicit_max_ttl: "0s",
      period: "0s",
      renewable: true,
      no_default_policy: false,
      num_uses: 0,
      display_name: "",
      entity_alias: "",
    },
    status: 200,
    answer: shape.granted,
    keep: { child: "auth.client_token", accessor: "auth.accessor" },
  },
  { asks: "POST /v1/auth/token/lookup", body: { token: "{child}" }, status: 200, answer: shape.tokenLookup },
  {
    asks: "POST /v1/auth/token/lookup-accessor",
    body: { accessor: "{accessor}" },
    status: 200,
    answer: shape.tokenLookup,
  },
  {
    asks: "POST /v1/sys/capabilities",
    body: { token: "{child}", paths: ["cli-kv/x"] },
    status: 200,
    answer: shape.repeated({ capabilities: z.array(z.string()), "cli-kv/x": z.array(z.string()) }),
  },
  {
    asks: "POST /v1/sys/capabilities-self",
    body: { path: "cli-kv/x" },
    status: 200,
    answer: shape.repeated({ capabilities: z.tuple([z.literal("root")]) }),
  },
  {
    asks: "PUT /v1/auth/token/renew",
    body: { token: "{child}", increment: 3600 },
    status: 200,
    answer: shape.granted,
  },
  { asks: "PUT /v1/auth/token/revoke-accessor", body: { accessor: "{accessor}" }, status: 204 },
  {
    asks: "POST /v1/auth/token/lookup-accessor",
    body: { accessor: "{accessor}" },
    status: 403,
    answer: shape.refusal,
  },
  { asks: "GET /v1/auth/token/accessors?list=true", status: 200, answer: listed() },
  // auth list, audit list, lease, operator
  { asks: "GET /v1/sys/auth", status: 200, answer: shape.mountTable },
  { asks: "GET /v1/sys/audit", status: 200, answer: z.looseObject({ data: z.looseObject({}) }) },
  { asks: "PUT /v1/sys/leases/revoke-prefix/pki/issue", body: { sync: true }, status: 204 },
  {
    asks: "GET /v1/sys/key-status",
    status: 200,
    answer: shape.repeated({ term: whole, install_time: shape.timestamp, encryptions: whole }),
  },
  { asks: "GET /v1/sys/rotate/config", status: 200, answer: z.looseObject({ data: z.looseObject({}) }) },
  {
    asks: "GET /v1/sys/rekey/init",
    status: 200,
    answer: z.looseObject({
      started: z.literal(false),
      t: whole,
      n: whole,
      progress: whole,
      required: whole,
      nonce: z.string(),
    }),
  },
  {
    asks: "GET /v1/sys/generate-root/attempt",
    status: 200,
    answer: z.looseObject({
      started: z.literal(false),
      progress: whole,
      required: whole,
      complete: z.boolean(),
      nonce: z.string(),
      otp_length: whole,
    }),
  },
  // write -wrap-ttl, unwrap, path-help
  { asks: "PUT /v1/sys/wrapping/wrap", body: { a: "b" }, status: 400, answer: shape.refusal },
  { asks: "GET /v1/sys/mounts?help=1", status: 200, answer: z.looseObject({ help: z.string() }) },
  {
    asks: "GET /v1/sys/internal/specs/openapi",
    status: 200,
    answer: z.looseObject({ openapi: z.string(), paths: z.record(z.string(), z.unknown()) }),
  },
  { asks: "DELETE /v1/sys/mounts/cli-kv", status: 204 },
  { asks: "DELETE /v1/sys/mounts/cli-kv", status: 204 },
];

/** `vault pki issue`, `list-intermediates` and what `health-check` reads. */
export const pkiCommands: readonly Step[] = [
  {
    asks: "PUT /v1/cli-int/intermediate/generate/internal",
    body: { common_name: "Example Intermediate", key_type: "ec", key_bits: "256" },
    status: 200,
    answer: shape.intermediateMade,
    keep: { csr: "data.csr" },
  },
  {
    asks: "PUT /v1/cli-pki/issuer/default/sign-intermediate",
    body: { common_name: "Example Intermediate", csr: "{csr}", ttl: "8760h", use_csr_values: "true" },
    status: 200,
    answer: shape.intermediateSigned,
    keep: { certificate: "data.certificate" },
  },
  {
    asks: "PUT /v1/cli-int/issuers/import/cert",
    body: { pem_bundle: "{certificate}" },
    status: 200,
    answer: shape.imported,
  },
  {
    asks: "GET /v1/cli-int/issuers?list=true",
    status: 200,
    answer: listed(
      z.looseObject({
        issuer_name: z.string(),
        is_default: z.boolean(),
        serial_number: shape.serialNumber,
        key_id: shape.uuid,
      }),
    ),
  },
  {
    asks: "GET /v1/cli-int/config/issuers",
    status: 200,
    answer: z.looseObject({
      data: z.looseObject({ default: shape.uuid, default_follows_latest_issuer: z.boolean() }),
    }),
    keep: { issuer: "data.default" },
  },
  { asks: "GET /v1/cli-int/issuer/{issuer}", status: 200, answer: shape.issuer },
  { asks: "GET /v1/sys/mounts", status: 200, answer: shape.mountTable },
  { asks: "GET /v1/cli-pki/issuers?list=true", status: 200, answer: listed(z.looseObject({})) },
  { asks: "GET /v1/cli-pki/issuer/default", status: 200, answer: shape.issuer },
  {
    asks: "GET /v1/cli-int/keys?list=true",
    status: 200,
    answer: listed(z.looseObject({ key_name: z.string(), is_default: z.boolean() })),
  },
  { asks: "GET /v1/cli-pki/crl/pem", status: 200, answer: z.string().regex(/^-----BEGIN X509 CRL/) },
  {
    asks: "GET /v1/cli-pki/issuer/default/crl/pem",
    status: 200,
    answer: z.string().regex(/^-----BEGIN X509 CRL/),
  },
  {
    asks: "GET /v1/cli-pki/issuer/default/crl",
    status: 200,
    answer: enveloped(z.looseObject({ crl: z.string() })),
  },
  {
    asks: "GET /v1/cli-pki/config/crl",
    status: 200,
    answer: enveloped(
      z.looseObject({
        expiry: z.string(),
        disable: z.boolean(),
        ocsp_disable: z.boolean(),
        auto_rebuild: z.boolean(),
        auto_rebuild_grace_period: z.string(),
        enable_delta: z.boolean(),
        delta_rebuild_interval: z.string(),
      }),
    ),
  },
  { asks: "GET /v1/cli-pki/config/urls", status: 200, answer: shape.urls },
  {
    asks: "GET /v1/cli-pki/config/auto-tidy",
    status: 200,
    answer: enveloped(z.looseObject({ enabled: z.boolean() })),
  },
  {
    asks: "GET /v1/cli-pki/config/cluster",
    status: 200,
    answer: enveloped(z.looseObject({ path: z.string(), aia_path: z.string() })),
  },
  {
    asks: "GET /v1/cli-pki/tidy-status",
    status: 200,
    answer: enveloped(z.looseObject({ state: z.string() })),
  },
  { asks: "GET /v1/cli-pki/roles?list=true", status: 200, answer: listed() },
  { asks: "GET /v1/cli-pki/roles/web", status: 200, answer: shape.pkiRole },
  { asks: "GET /v1/cli-pki/certs?list=true", status: 200, answer: listed() },
  { asks: "GET /v1/sys/mounts/cli-pki/tune", status: 200, answer: z.looseObject({ data: shape.tuning }) },
  { asks: "GET /v1/sys/auth", status: 200, answer: shape.mountTable },
];
