import { z } from "zod";
import type { Step } from "../harness/replay.js";
import * as shape from "../harness/vault-shapes.js";
import { enveloped, listed, pem } from "../harness/vault-shapes.js";

const ROOT_FIELDS = {
  common_name: "gopki root",
  organization: ["Example"],
  country: ["DE"],
  locality: [],
  province: [],
  street_address: [],
  postal_code: [],
  ttl: "87600h",
  key_type: "ec",
  key_bits: 256,
  max_path_length: 1,
  exclude_cn_from_sans: true,
  permitted_dns_domains: [],
  uri_sans: "",
  ip_sans: "",
  alt_names: "",
};
const LEAF_FIELDS = {
  common_name: "www.example.com",
  alt_names: "www.example.com,example.com",
  ip_sans: "127.0.0.1",
  uri_sans: "",
  other_sans: "",
  ttl: "24h",
  format: "pem",
  exclude_cn_from_sans: false,
};

/** Every call of gopki, first as its `vault` package made them, then as `bao/pki` does. */
export function gopki(requests: { readonly csr: string; readonly key: string }): readonly Step[] {
  return [
    { asks: "GET /v1/sys/health", status: 200, answer: shape.health },
    // ValidateConnection takes an answer without data for a fault.
    { asks: "GET /v1/gopki/config/urls", status: 200, answer: shape.urls },
    {
      asks: "POST /v1/gopki/root/generate/exported",
      body: { ...ROOT_FIELDS, issuer_name: "first", key_name: "first-key" },
      status: 200,
      answer: shape.rootExported,
      keep: { issuer: "data.issuer_id" },
    },
    { asks: "POST /v1/gopki/root/generate/internal", body: ROOT_FIELDS, status: 200, answer: shape.rootMade },
    {
      asks: "POST /v1/gopki/config/issuers",
      body: { default: "{issuer}" },
      status: 200,
      answer: enveloped(z.looseObject({ default: shape.uuid })),
    },
    {
      asks: "GET /v1/gopki/config/issuers",
      status: 200,
      answer: enveloped(z.looseObject({ default: shape.uuid })),
    },
    // roles
    {
      asks: "POST /v1/gopki/roles/web",
      body: {
        allow_any_name: true,
        allowed_domains: ["example.com"],
        allow_subdomains: true,
        allowed_ip_sans: ["127.0.0.0/8"],
        key_type: "any",
        ttl: "24h",
        max_ttl: "720h",
        not_before_duration: "30s",
        key_usage: ["DigitalSignature"],
        require_cn: false,
      },
      status: 200,
      answer: shape.pkiRole,
    },
    { asks: "GET /v1/gopki/roles/web", status: 200, answer: shape.pkiRole },
    { asks: "LIST /v1/gopki/roles", status: 200, answer: listed() },
    // IssueCertificateWithKeyPair, SignCSR
    {
      asks: "POST /v1/gopki/sign/web",
      body: { ...LEAF_FIELDS, csr: requests.csr },
      status: 200,
      answer: shape.signed,
      keep: { serial: "data.serial_number", certificate: "data.certificate" },
    },
    {
      asks: "GET /v1/gopki/cert/{serial}",
      status: 200,
      answer: enveloped(z.looseObject({ certificate: pem, revocation_time: z.literal(0) })),
    },
    { asks: "LIST /v1/gopki/certs", status: 200, answer: listed() },
    {
      asks: "POST /v1/gopki/revoke",
      body: { serial_number: "{serial}" },
      status: 200,
      answer: shape.revoked,
    },
    {
      asks: "POST /v1/gopki/revoke-with-key",
      body: { certificate: "{certificate}", private_key: requests.key },
      status: 200,
      answer: shape.revoked,
    },
    // bao/pki: GenerateRSACertificate and the others let the server make the key
    {
      asks: "PUT /v1/gopki/issue/web",
      body: { ...LEAF_FIELDS, key_type: "ed25519", private_key_format: "pkcs8" },
      status: 200,
      answer: shape.issued,
    },
    {
      asks: "PUT /v1/gopki/issue/web",
      body: { ...LEAF_FIELDS, key_type: "ec", key_bits: 384, type: "existing", key_ref: "first-key" },
      status: 200,
      answer: shape.issued,
    },
    {
      asks: "PUT /v1/gopki/sign-verbatim",
      body: { csr: requests.csr, ttl: "1h", format: "pem" },
      status: 200,
      answer: shape.signed,
    },
    // SignSelfIssued asks at a path that Vault has not; the real one is below `root/`.
    {
      asks: "PUT /v1/gopki/sign-self-issued",
      body: { certificate: "x", require_matching_certificate_algorithms: false },
      status: 404,
      answer: shape.refusal,
    },
    // intermediates
    {
      asks: "PUT /v1/gopki-int/intermediate/generate/internal",
      body: { ...ROOT_FIELDS, common_name: "gopki intermediate", add_basic_constraints: true },
      status: 200,
      answer: shape.intermediateMade,
      keep: { request: "data.csr" },
    },
    {
      asks: "PUT /v1/gopki/root/sign-intermediate",
      body: {
        csr: "{request}",
        common_name: "gopki intermediate",
        ttl: "43800h",
        max_path_length: 0,
        alt_names: "",
        ip_sans: "",
        uri_sans: "",
        exclude_cn_from_sans: true,
      },
      status: 200,
      answer: shape.intermediateSigned,
      keep: { intermediate: "data.certificate" },
    },
    {
      asks: "PUT /v1/gopki-int/intermediate/set-signed",
      body: { certificate: "{intermediate}" },
      status: 200,
      answer: shape.imported,
    },
    {
      asks: "PUT /v1/gopki-int/config/ca",
      body: { pem_bundle: "{intermediate}" },
      status: 200,
      answer: shape.imported,
    },
    // issuers
    {
      asks: "GET /v1/gopki/issuers?list=true",
      status: 200,
      answer: listed(z.looseObject({ issuer_name: z.string() })),
    },
    { asks: "GET /v1/gopki/issuer/{issuer}", status: 200, answer: shape.issuer },
    {
      asks: "PUT /v1/gopki/issuer/first",
      body: {
        issuer_name: "renamed",
        leaf_not_after_behavior: "truncate",
        usage: "read-only,issuing-certificates,crl-signing",
        issuing_certificates: ["http://127.0.0.1/ca"],
        crl_distribution_points: [],
        ocsp_servers: [],
        enable_aia_url_templating: false,
        manual_chain: [],
      },
      status: 200,
      answer: shape.issuer,
    },
    // keys
    {
      asks: "PUT /v1/gopki/keys/generate/exported",
      body: { key_name: "second-key", key_type: "ec", key_bits: 384 },
      status: 200,
      answer: enveloped(
        z.looseObject({
          key_id: shape.uuid,
          key_name: z.literal("second-key"),
          key_type: z.literal("ec"),
          private_key: pem,
        }),
      ),
      keep: { key: "data.key_id" },
    },
    {
      asks: "PUT /v1/gopki/keys/import",
      body: { pem_bundle: requests.key, key_name: "third-key" },
      status: 200,
      answer: enveloped(
        z.looseObject({ key_id: shape.uuid, key_name: z.literal("third-key"), key_type: z.string() }),
      ),
      keep: { imported: "data.key_id" },
    },
    {
      asks: "GET /v1/gopki/keys?list=true",
      status: 200,
      answer: listed(z.looseObject({ key_name: z.string() })),
    },
    {
      asks: "GET /v1/gopki/key/{key}",
      status: 200,
      answer: enveloped(z.looseObject({ key_id: shape.uuid, key_name: z.string(), key_type: z.string() })),
    },
    {
      asks: "PUT /v1/gopki/key/{key}",
      body: { key_name: "second" },
      status: 200,
      answer: enveloped(z.looseObject({ key_name: z.literal("second") })),
    },
    // ExportKey: a key never leaves the vault once it is in there.
    { asks: "GET /v1/gopki/key/{key}/export", status: 404, answer: shape.refusal },
    { asks: "DELETE /v1/gopki/key/{imported}", status: 204 },
    { asks: "DELETE /v1/gopki/roles/web", status: 204 },
    { asks: "GET /v1/gopki/roles/web", status: 404, answer: shape.nothingThere },
    { asks: "LIST /v1/gopki/roles", status: 404, answer: shape.nothingThere },
  ];
}
