import type { MountEntry } from "../mount/mount-table.js";

/** Whose values an audit device writes in clear; everything below the field as well. */
export type IsClear = (field: string) => boolean;

/** What is in a certificate or about to be: a log without it is of no use to whoever has to find one. */
const PKI_REQUEST = new Set(
  `alt_names certificate common_name country csr cn_validations exclude_cn_from_sans ext_key_usage ext_key_usage_oids format
   ip_sans issuer_name issuer_ref key_bits key_name key_ref key_type key_usage locality max_path_length not_after not_before
   not_before_duration organization other_sans ou permitted_dns_domains policy_identifiers postal_code private_key_format
   province remove_roots_from_chain role serial_number signature_bits street_address ttl uri_sans user_ids`.split(
    /\s+/,
  ),
);
const PKI_RESPONSE = new Set(
  `ca_chain certificate common_name error expiration issuer_id issuing_ca key_id key_type not_after not_before
   private_key_type revocation_time_rfc3339 serial_number state`.split(/\s+/),
);
const NOTHING: ReadonlySet<string> = new Set();

/** Never in clear, whatever a mount says. */
const SECRET_FIELDS: ReadonlySet<string> = new Set(["private_key", "token", "client_token", "secret_id"]);

/** Whether a value must not be written in clear whatever device and mount say: keys hide in bundles of certificates too. */
export function isSecret(field: string, value: string): boolean {
  return SECRET_FIELDS.has(field) || value.includes("PRIVATE KEY-----");
}

/** The fields of requests to a mount that are written in clear: those it was tuned to, else those usual for its type. */
export function clearRequestFields(mount: MountEntry | undefined): IsClear {
  return clearFields(mount?.auditNonHmacRequestKeys, isPki(mount) ? PKI_REQUEST : NOTHING);
}

/** The same of its answers; `error` stands for the texts of errors and warnings as well. */
export function clearResponseFields(mount: MountEntry | undefined): IsClear {
  return clearFields(mount?.auditNonHmacResponseKeys, isPki(mount) ? PKI_RESPONSE : NOTHING);
}

function clearFields(chosen: readonly string[] | undefined, usual: ReadonlySet<string>): IsClear {
  return chosen === undefined ? (field) => usual.has(field) : (field) => chosen.includes(field);
}

/** Also the cluster's own, `rk8s-pki`. */
function isPki(mount: MountEntry | undefined): boolean {
  return mount?.type === "pki" || mount?.type === "rk8s-pki";
}
