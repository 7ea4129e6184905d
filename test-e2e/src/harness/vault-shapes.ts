import { z } from "zod";

/** A PEM block or several. */
export const pem = z.string().regex(/^-----BEGIN [A-Z0-9 ]+-----\n[^]+-----END [A-Z0-9 ]+-----\n?$/);
/** `39:dd:…`, as Vault writes serial numbers. */
export const serialNumber = z.string().regex(/^[0-9a-f]{2}(:[0-9a-f]{2})+$/);
/** A JSON number without a fraction: seconds, bits, counts. */
export const whole = z.int();
export const timestamp = z.iso.datetime({ offset: true });
export const uuid = z.guid();

const NO_MORE = {
  request_id: uuid,
  lease_id: z.literal(""),
  renewable: z.literal(false),
  lease_duration: z.literal(0),
  wrap_info: z.null(),
  auth: z.null(),
};

/** Vault's envelope around data: every member is there, and none besides. */
export function enveloped(data: z.ZodType): z.ZodType {
  return z.strictObject({ ...NO_MORE, warnings: z.union([z.null(), z.array(z.string()).min(1)]), data });
}

/** The same with members of the data repeated beside it: old clients read either place. */
export function repeated(members: z.ZodRawShape): z.ZodType {
  return z.looseObject({ ...NO_MORE, warnings: z.null(), ...members, data: z.looseObject(members) });
}

/** A list: `data.keys`, and for some paths what is known of each. */
export function listed(keyInfo?: z.ZodType): z.ZodType {
  const keys = z.array(z.string()).min(1);
  return enveloped(
    z.strictObject({ keys, ...(keyInfo === undefined ? {} : { key_info: z.record(z.string(), keyInfo) }) }),
  );
}

/** An answer with a token in `auth`, and no data. */
export const granted: z.ZodType = z.strictObject({
  ...NO_MORE,
  data: z.null(),
  warnings: z.union([z.null(), z.array(z.string()).min(1)]),
  auth: z.strictObject({
    client_token: z.string().min(20),
    accessor: z.string().min(10),
    policies: z.array(z.string()),
    token_policies: z.array(z.string()),
    identity_policies: z.array(z.string()).optional(),
    metadata: z.union([z.null(), z.record(z.string(), z.string())]),
    lease_duration: whole,
    renewable: z.boolean(),
    entity_id: z.string(),
    token_type: z.enum(["service", "batch"]),
    orphan: z.boolean(),
    mfa_requirement: z.null(),
    num_uses: whole,
  }),
});

/** Done, with something to be said about it. */
export const warned: z.ZodType = z.strictObject({
  ...NO_MORE,
  data: z.null(),
  warnings: z.array(z.string()).min(1),
});

/** An answer that is kept wrapped. */
export const wrapped: z.ZodType = z.strictObject({
  ...NO_MORE,
  data: z.null(),
  warnings: z.null(),
  wrap_info: z.strictObject({
    token: z.string().min(20),
    accessor: z.string(),
    ttl: whole,
    creation_time: timestamp,
    creation_path: z.string(),
    wrapped_accessor: z.string().optional(),
  }),
});

/** What is said instead of an answer: `errors` is what Vault's clients read, `error` is ours. */
export const refusal: z.ZodType = z.strictObject({
  errors: z.array(z.string()),
  error: z
    .strictObject({
      code: z.string(),
      message: z.string(),
      suggestion: z.string().optional(),
      retryable: z.boolean(),
    })
    .optional(),
});

/** What a read of nothing and an empty list are answered with. */
export const nothingThere: z.ZodType = z.strictObject({ errors: z.array(z.string()).length(0) });

export const sealStatus: z.ZodType = z.strictObject({
  type: z.string(),
  initialized: z.boolean(),
  sealed: z.boolean(),
  t: whole,
  n: whole,
  progress: whole,
  nonce: z.string(),
  // Terraform's provider ends with a panic when this is no semantic version.
  version: z.string().regex(/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/),
  build_date: z.string(),
  migration: z.boolean(),
  cluster_name: z.string(),
  cluster_id: z.string(),
  recovery_seal: z.boolean(),
  storage_type: z.string(),
});

export const health: z.ZodType = z.looseObject({
  initialized: z.boolean(),
  sealed: z.boolean(),
  standby: z.boolean(),
  performance_standby: z.boolean(),
  replication_performance_mode: z.literal("disabled"),
  replication_dr_mode: z.literal("disabled"),
  server_time_utc: whole,
  version: z.string(),
  cluster_name: z.string(),
  cluster_id: z.string(),
});

export const leader: z.ZodType = z.looseObject({
  ha_enabled: z.boolean(),
  is_self: z.boolean(),
  leader_address: z.string(),
});

const mountConfig = {
  default_lease_ttl: whole,
  max_lease_ttl: whole,
  force_no_cache: z.boolean(),
};

export const mount = z.looseObject({
  type: z.string(),
  description: z.string(),
  accessor: z.string(),
  uuid,
  local: z.boolean(),
  seal_wrap: z.boolean(),
  external_entropy_access: z.boolean(),
  options: z.union([z.null(), z.record(z.string(), z.string())]),
  plugin_version: z.string(),
  running_plugin_version: z.string(),
  running_sha256: z.string(),
  config: z.looseObject(mountConfig),
});

/** `sys/mounts` and `sys/auth`. */
export const mountTable: z.ZodType = z.looseObject({ data: z.record(z.string().endsWith("/"), mount) });

export const tuning = z.looseObject({ ...mountConfig, description: z.string() });

const leaf = {
  certificate: pem,
  issuing_ca: pem,
  ca_chain: z.array(pem).min(1),
  serial_number: serialNumber,
  not_before: whole,
  expiration: whole,
};
/** What `sign` answers. */
export const signed: z.ZodType = enveloped(z.strictObject(leaf));
/** What `issue` answers. */
export const issued: z.ZodType = enveloped(
  z.strictObject({ ...leaf, private_key: pem, private_key_type: z.enum(["rsa", "ec", "ed25519"]) }),
);

const root = {
  certificate: pem,
  issuing_ca: pem,
  serial_number: serialNumber,
  not_before: whole.optional(),
  expiration: whole,
  issuer_id: uuid,
  issuer_name: z.string(),
  key_id: uuid,
  key_name: z.string(),
};
export const rootMade: z.ZodType = enveloped(z.looseObject(root));
export const rootExported: z.ZodType = enveloped(
  z.looseObject({ ...root, private_key: pem, private_key_type: z.string() }),
);

export const intermediateMade: z.ZodType = enveloped(z.strictObject({ csr: pem, key_id: uuid }));
export const intermediateSigned: z.ZodType = enveloped(
  z.looseObject({
    certificate: pem,
    issuing_ca: pem,
    ca_chain: z.array(pem).min(1),
    serial_number: serialNumber,
    expiration: whole,
  }),
);

export const imported: z.ZodType = enveloped(
  z.strictObject({
    imported_issuers: z.union([z.null(), z.array(uuid)]),
    imported_keys: z.union([z.null(), z.array(uuid)]),
    existing_issuers: z.union([z.null(), z.array(uuid)]),
    existing_keys: z.union([z.null(), z.array(uuid)]),
    mapping: z.record(z.string(), z.string()),
  }),
);

/** Numbers are JSON numbers, lists are lists: Terraform's provider and gopki decode them as such. */
export const pkiRole: z.ZodType = enveloped(
  z.looseObject({
    issuer_ref: z.string(),
    ttl: whole,
    max_ttl: whole,
    not_before_duration: whole,
    allowed_domains: z.array(z.string()),
    allow_bare_domains: z.boolean(),
    allow_subdomains: z.boolean(),
    allow_glob_domains: z.boolean(),
    allow_wildcard_certificates: z.boolean(),
    allow_any_name: z.boolean(),
    allow_localhost: z.boolean(),
    allow_ip_sans: z.boolean(),
    allowed_uri_sans: z.array(z.string()),
    allowed_other_sans: z.array(z.string()),
    enforce_hostnames: z.boolean(),
    server_flag: z.boolean(),
    client_flag: z.boolean(),
    key_type: z.string(),
    key_bits: whole,
    signature_bits: whole,
    use_pss: z.boolean(),
    key_usage: z.array(z.string()),
    ext_key_usage: z.array(z.string()),
    ext_key_usage_oids: z.array(z.string()),
    ou: z.array(z.string()),
    organization: z.array(z.string()),
    country: z.array(z.string()),
    require_cn: z.boolean(),
    no_store: z.boolean(),
    generate_lease: z.boolean(),
    policy_identifiers: z.array(z.string()),
    basic_constraints_valid_for_non_ca: z.boolean(),
  }),
);

export const revoked: z.ZodType = enveloped(
  z.strictObject({ revocation_time: whole, revocation_time_rfc3339: timestamp, state: z.literal("revoked") }),
);

export const issuer: z.ZodType = enveloped(
  z.looseObject({
    issuer_id: uuid,
    issuer_name: z.string(),
    key_id: z.string(),
    certificate: pem,
    ca_chain: z.array(pem),
    manual_chain: z.union([z.null(), z.array(z.string())]),
    leaf_not_after_behavior: z.string(),
    usage: z.string(),
    revocation_signature_algorithm: z.string(),
    revoked: z.boolean(),
    issuing_certificates: z.array(z.string()),
    crl_distribution_points: z.array(z.string()),
    ocsp_servers: z.array(z.string()),
    enable_aia_url_templating: z.boolean(),
  }),
);

export const urls: z.ZodType = enveloped(
  z.looseObject({
    issuing_certificates: z.array(z.string()),
    crl_distribution_points: z.array(z.string()),
    ocsp_servers: z.array(z.string()),
    enable_templating: z.boolean(),
  }),
);

/** What a token is to those who look it up. */
export const tokenLookup: z.ZodType = enveloped(
  z.looseObject({
    id: z.string(),
    accessor: z.string(),
    policies: z.array(z.string()),
    path: z.string(),
    meta: z.union([z.null(), z.record(z.string(), z.string())]),
    display_name: z.string(),
    num_uses: whole,
    orphan: z.boolean(),
    creation_time: whole,
    creation_ttl: whole,
    expire_time: z.union([z.null(), timestamp]),
    ttl: whole,
    explicit_max_ttl: whole,
    entity_id: z.string(),
    type: z.string(),
  }),
);
