import { z } from "zod";
import type { Step } from "../harness/replay.js";
import * as shape from "../harness/vault-shapes.js";
import { pem, whole } from "../harness/vault-shapes.js";

/** Terraform's provider for Vault: resources made, read, changed and destroyed. */
export const terraform: readonly Step[] = [
  { asks: "GET /v1/auth/token/lookup-self", status: 200, answer: shape.tokenLookup },
  {
    asks: "POST /v1/auth/token/create",
    body: {
      display_name: "terraform",
      ttl: "1200s",
      explicit_max_ttl: "1200s",
      renewable: false,
      num_uses: 0,
    },
    status: 200,
    answer: shape.granted,
    keep: { token: "auth.client_token" },
  },
  { asks: "GET /v1/sys/seal-status", status: 200, answer: shape.sealStatus },
  {
    asks: "GET /v1/sys/health?drsecondarycode=299&performancestandbycode=299&sealedcode=299&standbycode=299&uninitcode=299",
    status: 200,
    answer: shape.health,
    isAnonymous: true,
  },
  // vault_mount
  {
    asks: "POST /v1/sys/mounts/tf/pki",
    body: {
      type: "pki",
      description: "",
      config: {
        options: null,
        default_lease_ttl: "3600s",
        max_lease_ttl: "315360000s",
        force_no_cache: false,
        audit_non_hmac_request_keys: ["common_name"],
      },
      local: false,
      seal_wrap: false,
      external_entropy_access: false,
      options: null,
    },
    status: 204,
  },
  { asks: "GET /v1/sys/mounts/tf/pki", status: 200, answer: z.looseObject({ data: shape.mount }) },
  { asks: "GET /v1/sys/mounts", status: 200, answer: shape.mountTable },
  {
    asks: "POST /v1/sys/mounts/tf/pki/tune",
    body: { description: "of terraform", default_lease_ttl: "7200s", max_lease_ttl: "315360000s" },
    status: 204,
  },
  { asks: "GET /v1/sys/mounts/tf/pki/tune", status: 200, answer: z.looseObject({ data: shape.tuning }) },
  // vault_pki_secret_backend_root_cert
  {
    asks: "PUT /v1/tf/pki/root/generate/internal",
    body: {
      common_name: "terraform root",
      ttl: "315360000",
      format: "pem",
      private_key_format: "der",
      key_type: "ec",
      key_bits: 256,
      max_path_length: -1,
      exclude_cn_from_sans: true,
      ou: "",
      organization: "Example",
      alt_names: "",
      ip_sans: "",
      uri_sans: "",
      other_sans: "",
    },
    status: 200,
    answer: shape.rootMade,
    keep: { issuer: "data.issuer_id", rootSerial: "data.serial_number" },
  },
  { asks: "GET /v1/tf/pki/issuer/{issuer}", status: 200, answer: shape.issuer },
  {
    asks: "GET /v1/tf/pki/cert/ca",
    status: 200,
    answer: z.looseObject({ data: z.looseObject({ certificate: pem }) }),
  },
  // vault_pki_secret_backend_config_urls
  {
    asks: "PUT /v1/tf/pki/config/urls",
    body: { issuing_certificates: ["http://127.0.0.1/ca"], crl_distribution_points: [], ocsp_servers: [] },
    status: 200,
    answer: shape.urls,
  },
  { asks: "GET /v1/tf/pki/config/urls", status: 200, answer: shape.urls },
  // vault_pki_secret_backend_role: what is not there is made anew
  { asks: "GET /v1/tf/pki/roles/web", status: 404, answer: shape.nothingThere },
  {
    asks: "PUT /v1/tf/pki/roles/web",
    body: {
      allow_any_name: true,
      allow_ip_sans: true,
      allow_localhost: true,
      allowed_domains: [],
      client_flag: true,
      enforce_hostnames: true,
      key_bits: 256,
      key_type: "ec",
      key_usage: ["DigitalSignature", "KeyAgreement"],
      max_ttl: "7200",
      not_before_duration: "30s",
      policy_identifiers: [],
      require_cn: true,
      server_flag: true,
      ttl: "3600",
      use_csr_common_name: true,
      use_csr_sans: true,
    },
    status: 200,
    answer: shape.pkiRole,
  },
  {
    asks: "GET /v1/tf/pki/roles/web",
    status: 200,
    answer: z.looseObject({
      data: z.looseObject({
        key_bits: z.literal(256),
        signature_bits: whole,
        ttl: z.literal(3600),
        max_ttl: z.literal(7200),
        not_before_duration: z.literal(30),
        key_usage: z.tuple([z.string(), z.string()]),
      }),
    }),
  },
  // vault_pki_secret_backend_cert
  {
    asks: "PUT /v1/tf/pki/issue/web",
    body: {
      common_name: "www.example.com",
      alt_names: "a.example.com,b.example.com",
      ip_sans: "127.0.0.1",
      uri_sans: "",
      other_sans: "",
      ttl: "1800",
      format: "pem",
      private_key_format: "der",
      exclude_cn_from_sans: false,
    },
    status: 200,
    answer: shape.issued,
    keep: { serial: "data.serial_number" },
  },
  {
    asks: "GET /v1/tf/pki/cert/{serial}",
    status: 200,
    answer: z.looseObject({ data: z.looseObject({ certificate: pem, revocation_time: z.literal(0) }) }),
  },
  { asks: "PUT /v1/tf/pki/revoke", body: { serial_number: "{serial}" }, status: 200, answer: shape.revoked },
  // vault_policy, vault_token, and the end: everything in the other order
  {
    asks: "PUT /v1/sys/policies/acl/tf",
    body: { policy: `path "tf/*" {\n  capabilities = ["read"]\n}\n` },
    status: 204,
  },
  {
    asks: "GET /v1/sys/policies/acl/tf",
    status: 200,
    answer: z.looseObject({ data: z.looseObject({ name: z.literal("tf"), policy: z.string() }) }),
  },
  { asks: "DELETE /v1/sys/policies/acl/tf", status: 204 },
  { asks: "GET /v1/sys/policies/acl/tf", status: 404, answer: shape.nothingThere },
  { asks: "DELETE /v1/tf/pki/roles/web", status: 204 },
  { asks: "DELETE /v1/tf/pki/root", status: 200, answer: shape.warned },
  { asks: "DELETE /v1/sys/mounts/tf/pki", status: 204 },
  { asks: "GET /v1/tf/pki/roles/web", status: 404, answer: shape.refusal },
];
