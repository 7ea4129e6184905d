type Texts = string | readonly string[];
/** Seconds, or text such as `12h`. */
type Duration = string | number;

/** What every request for a certificate may say, in Vault's words; what is left out is decided by the role. */
export interface CertificateNamesRequest {
  readonly common_name?: string;
  /** DNS names and email addresses. */
  readonly alt_names?: Texts;
  readonly ip_sans?: Texts;
  readonly uri_sans?: Texts;
  /** `<object identifier>;UTF8:<value>`. */
  readonly other_sans?: Texts;
  /** Attribute of the subject, not the certificate's number. */
  readonly serial_number?: string;
  readonly user_ids?: Texts;
  readonly ttl?: Duration;
  /** RFC 3339, instead of `ttl`. */
  readonly not_after?: string;
  /** RFC 3339. */
  readonly not_before?: string;
  readonly exclude_cn_from_sans?: boolean;
  /** Subject key identifier, in hexadecimal digits. */
  readonly skid?: string;
  readonly format?: "pem" | "der" | "pem_bundle";
  readonly remove_roots_from_chain?: boolean;
}

/** Body of `issue/:role`. */
export interface IssueCertificateRequest extends CertificateNamesRequest {
  /** `der` is PKCS#1 or SEC1, `pkcs8` is PKCS#8; both come as PEM unless `format` is `der`. */
  readonly private_key_format?: "der" | "pem" | "pkcs8";
  /** For roles of key type `any`. */
  readonly key_type?: "rsa" | "ec" | "ed25519";
  readonly key_bits?: number;
}

/** Body of `sign/:role`. */
export interface SignCertificateRequest extends CertificateNamesRequest {
  /** PEM PKCS#10. */
  readonly csr: string;
}

/** Body of `sign-verbatim` and `sign-verbatim/:role`: what the CSR says is signed as it is. */
export interface SignVerbatimRequest extends Pick<
  CertificateNamesRequest,
  "other_sans" | "ttl" | "not_after" | "not_before" | "skid" | "format" | "remove_roots_from_chain"
> {
  /** PEM PKCS#10. */
  readonly csr: string;
  /** For a CSR that asks for no usage. */
  readonly key_usage?: Texts;
  readonly ext_key_usage?: Texts;
  readonly ext_key_usage_oids?: Texts;
  /** For issuers with RSA keys: 256, 384 or 512. */
  readonly signature_bits?: number;
  readonly use_pss?: boolean;
}

/** Body of `roles/:name`; what is left out gets OpenBao's default (reference/vault.md §2). */
export interface RoleRequest {
  /** Name or id of the issuer; default `default`. */
  readonly issuer_ref?: string;
  readonly ttl?: Duration;
  readonly max_ttl?: Duration;
  readonly not_before_duration?: Duration;
  readonly not_before?: string;
  readonly not_before_bound?: "permit" | "duration" | "forbid";
  readonly not_after?: string;
  /** `permit`, `ttl-limited`, `forbid` or a date. */
  readonly not_after_bound?: string;
  readonly allowed_domains?: Texts;
  readonly allowed_domains_template?: boolean;
  readonly allow_globs_in_identity_templates?: boolean;
  readonly allow_bare_domains?: boolean;
  readonly allow_subdomains?: boolean;
  readonly allow_glob_domains?: boolean;
  readonly allow_wildcard_certificates?: boolean;
  readonly allow_any_name?: boolean;
  readonly allow_localhost?: boolean;
  readonly allow_token_displayname?: boolean;
  /** Also allow the first label of an allowed name as a name of its own; not Vault's. */
  readonly allow_short_names?: boolean;
  readonly enforce_hostnames?: boolean;
  readonly allow_ip_sans?: boolean;
  readonly allowed_ip_sans_cidr?: Texts;
  readonly allowed_uri_sans?: Texts;
  readonly allowed_uri_sans_template?: boolean;
  readonly allowed_other_sans?: Texts;
  readonly allowed_serial_numbers?: Texts;
  readonly allowed_user_ids?: Texts;
  readonly server_flag?: boolean;
  readonly client_flag?: boolean;
  readonly code_signing_flag?: boolean;
  readonly email_protection_flag?: boolean;
  readonly key_usage?: Texts;
  readonly ext_key_usage?: Texts;
  readonly ext_key_usage_oids?: Texts;
  readonly key_type?: "rsa" | "ec" | "ed25519" | "any";
  readonly key_bits?: number;
  readonly signature_bits?: number;
  readonly use_pss?: boolean;
  readonly use_csr_common_name?: boolean;
  readonly use_csr_sans?: boolean;
  readonly require_cn?: boolean;
  readonly cn_validations?: Texts;
  readonly organization?: Texts;
  readonly ou?: Texts;
  readonly country?: Texts;
  readonly locality?: Texts;
  readonly province?: Texts;
  readonly street_address?: Texts;
  readonly postal_code?: Texts;
  readonly policy_identifiers?:
    string | readonly (string | { readonly oid: string; readonly cps?: string; readonly notice?: string })[];
  readonly basic_constraints_valid_for_non_ca?: boolean;
  readonly no_store?: boolean;
  readonly generate_lease?: boolean;
}
