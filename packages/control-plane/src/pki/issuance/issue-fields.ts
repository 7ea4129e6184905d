import { z } from "zod";
import { count, duration, flag, integer, list, oneOf, text } from "../../vault/field-types.js";

/** What every request for a leaf may say (reference/vault.md §2). */
const leafFields = {
  common_name: text(""),
  /** DNS names and email addresses. */
  alt_names: list([]),
  ip_sans: list([]),
  uri_sans: list([]),
  /** `<object identifier>;UTF8:<value>`. */
  other_sans: list([]),
  /** Of the subject, not of the certificate. */
  serial_number: text(""),
  user_ids: list([]),
  ttl: duration(0),
  not_before: text("", { maxCharacters: 64 }),
  not_after: text("", { maxCharacters: 64 }),
  exclude_cn_from_sans: flag(false),
  /** Subject key identifier in hexadecimal digits. */
  skid: text("", { maxCharacters: 256 }),
  format: oneOf("pem", ["pem", "der", "pem_bundle"]),
  private_key_format: oneOf("der", ["", "der", "pem", "pkcs8"]),
  remove_roots_from_chain: flag(false),
};

/** Body of `issue/:role`. */
export const issueSchema = z.object({
  ...leafFields,
  /** For roles of key type `any`. */
  key_type: text(),
  key_bits: count(),
});

/** Body of `sign/:role`. */
export const signSchema = z.object({ ...leafFields, csr: text("") });

/** Body of `sign-verbatim/:role`. */
export const verbatimSchema = z.object({
  ...leafFields,
  csr: text(""),
  key_usage: list(["DigitalSignature", "KeyAgreement", "KeyEncipherment"]),
  ext_key_usage: list([]),
  ext_key_usage_oids: list([]),
  signature_bits: integer(0),
  use_pss: flag(false),
});

/** What every request for a leaf means to the rules. */
export type LeafRequest = Readonly<Pick<z.infer<typeof issueSchema>, keyof typeof leafFields>>;
export type VerbatimRequest = Readonly<z.infer<typeof verbatimSchema>>;
