import { z } from "zod";
import { duration, flag, integer, list, oneOf, text } from "../../vault/field-types.js";

/** Subject and alternative names of a CA; nothing restricts them but that they can be written. */
const names = {
  common_name: text(""),
  alt_names: list([]),
  ip_sans: list([]),
  uri_sans: list([]),
  other_sans: list([]),
  exclude_cn_from_sans: flag(false),
  serial_number: text(""),
  ou: list([]),
  organization: list([]),
  country: list([]),
  locality: list([]),
  province: list([]),
  street_address: list([]),
  postal_code: list([]),
};

const form = {
  format: oneOf("pem", ["pem", "der", "pem_bundle"]),
  private_key_format: oneOf("der", ["der", "pkcs8"]),
};

const key = {
  key_type: oneOf("rsa", ["rsa", "ec", "ed25519"]),
  key_bits: integer(0),
  key_name: text(""),
  key_ref: text("default"),
  signature_bits: integer(0),
  use_pss: flag(false),
  managed_key_name: text(""),
  managed_key_id: text(""),
};

/** What is said about a CA certificate besides names and key. */
const certificate = {
  issuer_name: text(""),
  ttl: duration(0),
  not_before: text(""),
  not_after: text(""),
  not_before_duration: duration(30),
  max_path_length: integer(-1),
  permitted_dns_domains: list([]),
  excluded_dns_domains: list([]),
  permitted_ip_ranges: list([]),
  excluded_ip_ranges: list([]),
  permitted_email_addresses: list([]),
  excluded_email_addresses: list([]),
  permitted_uri_domains: list([]),
  excluded_uri_domains: list([]),
};

/** Body of `root/generate/:type` and `root/rotate/:type`. */
export const rootFields = z.object({ ...names, ...form, ...key, ...certificate });

/** Body of `intermediate/generate/:type` and `intermediate/cross-sign`. */
export const intermediateFields = z.object({
  ...names,
  ...form,
  ...key,
  add_basic_constraints: flag(false),
});

/** Body of `root/sign-intermediate`. */
export const signIntermediateFields = z.object({
  ...names,
  ...certificate,
  format: form.format,
  csr: text(""),
  use_csr_values: flag(false),
  signature_bits: integer(0),
  use_pss: flag(false),
});

export type CaNames = Pick<z.output<typeof rootFields>, keyof typeof names>;
export type CaKeyFields = Pick<z.output<typeof rootFields>, keyof typeof key>;
export type CaCertificateFields = Pick<z.output<typeof rootFields>, keyof typeof certificate>;

/** Body of `root/generate/:type`, in Vault's words; what is left out gets Vault's default. */
export interface RootGenerateRequest {
  readonly common_name?: string;
  /** DNS names and email addresses. */
  readonly alt_names?: string | readonly string[];
  readonly ip_sans?: string | readonly string[];
  readonly uri_sans?: string | readonly string[];
  readonly exclude_cn_from_sans?: boolean;
  /** Seconds or text such as `8760h`. */
  readonly ttl?: string | number;
  /** RFC 3339, instead of `ttl`. */
  readonly not_after?: string;
  readonly not_before_duration?: string | number;
  readonly issuer_name?: string;
  readonly key_name?: string;
  /** Default `rsa`. */
  readonly key_type?: "rsa" | "ec" | "ed25519";
  readonly key_bits?: number;
  readonly signature_bits?: number;
  readonly use_pss?: boolean;
  readonly max_path_length?: number;
  readonly permitted_dns_domains?: string | readonly string[];
  readonly excluded_dns_domains?: string | readonly string[];
  readonly organization?: string | readonly string[];
  readonly ou?: string | readonly string[];
  readonly country?: string | readonly string[];
  readonly format?: "pem" | "der" | "pem_bundle";
  readonly private_key_format?: "der" | "pkcs8";
}
