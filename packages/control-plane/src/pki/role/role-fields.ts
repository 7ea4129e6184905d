import { z } from "zod";
import { duration, flag, integer, list, oneOf, text } from "../../vault/field-types.js";
import { policyIdentifiers } from "./policy-identifiers.js";

/**
 * The fields of a PKI role: OpenBao's names, types and defaults (reference/vault.md §2). `allow_short_names` is ours.
 * The order is that of a role's answer.
 */
export const roleSchema = z.object({
  issuer_ref: text("default", { maxCharacters: 128 }),
  ttl: duration(0),
  max_ttl: duration(0),
  not_before_duration: duration(30),
  not_before: text("", { maxCharacters: 64 }),
  not_before_bound: oneOf("permit", ["permit", "duration", "forbid"]),
  not_after: text("", { maxCharacters: 64 }),
  /** `permit`, `ttl-limited`, `forbid` or a date. */
  not_after_bound: text("permit", { maxCharacters: 64 }),
  allowed_domains: list([]),
  allowed_domains_template: flag(false),
  /** Whether a template may be filled with a value that has a `*`. */
  allow_globs_in_identity_templates: flag(false),
  allow_bare_domains: flag(false),
  allow_subdomains: flag(false),
  allow_glob_domains: flag(false),
  allow_wildcard_certificates: flag(true),
  allow_any_name: flag(false),
  allow_localhost: flag(true),
  allow_token_displayname: flag(false),
  enforce_hostnames: flag(true),
  /** Also allow a DNS name of one label when it is the first label of another name that the role allows. */
  allow_short_names: flag(false),
  allow_ip_sans: flag(true),
  allowed_ip_sans_cidr: list([]),
  allowed_uri_sans: list([]),
  allowed_uri_sans_template: flag(false),
  allowed_other_sans: list([]),
  allowed_serial_numbers: list([]),
  allowed_user_ids: list([]),
  server_flag: flag(true),
  client_flag: flag(true),
  code_signing_flag: flag(false),
  email_protection_flag: flag(false),
  key_usage: list(["DigitalSignature", "KeyAgreement", "KeyEncipherment"]),
  ext_key_usage: list([]),
  ext_key_usage_oids: list([]),
  key_type: oneOf("rsa", ["rsa", "ec", "ed25519", "any"]),
  key_bits: integer(0),
  signature_bits: integer(0),
  use_pss: flag(false),
  use_csr_common_name: flag(true),
  use_csr_sans: flag(true),
  require_cn: flag(true),
  cn_validations: list(["email", "hostname"]),
  organization: list([]),
  ou: list([]),
  country: list([]),
  locality: list([]),
  province: list([]),
  street_address: list([]),
  postal_code: list([]),
  policy_identifiers: policyIdentifiers(),
  basic_constraints_valid_for_non_ca: flag(false),
  no_store: flag(false),
  generate_lease: flag(false),
});

/** A role with every field decided. */
export type PkiRole = Readonly<z.infer<typeof roleSchema>>;
