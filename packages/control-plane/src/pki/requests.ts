import { createPrivateKey } from "node:crypto";
import { type Credentials, RksError } from "@rk8s/protocol";
import { decodePemCertificates } from "@rk8s/x509";
import { z } from "zod";
import type { JsonObject } from "../vault/backend.js";
import { duration, flag, integer, list, oneOf, text } from "../vault/field-types.js";

/** What `issue` and `sign` share. */
export interface CertificateNamesRequest {
  readonly common_name?: string;
  /** DNS names and email addresses. */
  readonly alt_names?: string | readonly string[];
  readonly ip_sans?: string | readonly string[];
  readonly uri_sans?: string | readonly string[];
  readonly ttl?: string | number;
  readonly exclude_cn_from_sans?: boolean;
  readonly format?: "pem" | "der" | "pem_bundle";
  readonly remove_roots_from_chain?: boolean;
}

/** Body of `issue/:role`. */
export interface IssueCertificateRequest extends CertificateNamesRequest {
  /** `der` is PKCS#1 or SEC1, `pkcs8` is PKCS#8; both come as PEM unless `format` is `der`. */
  readonly private_key_format?: "der" | "pkcs8";
  /** For roles of key type `any`. */
  readonly key_type?: "rsa" | "ec" | "ed25519";
  readonly key_bits?: number;
}

/** Body of `sign/:role`. */
export interface SignCertificateRequest extends CertificateNamesRequest {
  /** PEM PKCS#10. */
  readonly csr: string;
}

const FORMATS = ["pem", "der", "pem_bundle"] as const;
const names = {
  common_name: text(""),
  alt_names: list([]),
  ip_sans: list([]),
  uri_sans: list([]),
  ttl: duration(0),
  exclude_cn_from_sans: flag(false),
  format: oneOf("pem", FORMATS),
  remove_roots_from_chain: flag(false),
};

export const issueSchema = z.object({
  ...names,
  private_key_format: oneOf("der", ["der", "pkcs8"]),
  key_type: oneOf("", ["", "rsa", "ec", "ed25519"]),
  key_bits: integer(0),
});

export const signSchema = z.object({ ...names, csr: text("") });

/** What every one of the requests means to the rules. */
export type NamesRequest = Pick<z.infer<typeof issueSchema>, keyof typeof names>;

const responseSchema = z.object({
  certificate: z.string(),
  issuing_ca: z.string(),
  ca_chain: z.array(z.string()),
  serial_number: z.string(),
  not_before: z.number(),
  expiration: z.number(),
  private_key: z.string().optional(),
  private_key_type: z.string().optional(),
});

/** The answer of `issue` and `sign` with format `pem`: Vault's fields, and the same as bytes. */
export class IssueCertificateResponse {
  readonly certificate: string;
  readonly issuing_ca: string;
  readonly ca_chain: readonly string[];
  readonly serial_number: string;
  /** Seconds since the epoch. */
  readonly not_before: number;
  readonly expiration: number;
  /** PEM; undefined for `sign`. */
  readonly private_key: string | undefined;
  readonly private_key_type: string | undefined;

  /** Take an answer's `data`. @throws {RksError} INPUT_INVALID when it is not such an answer. */
  constructor(data: JsonObject) {
    const parsed = responseSchema.safeParse(data);
    if (!parsed.success) {
      const fields = parsed.error.issues.map((issue) => issue.path.join(".")).join(", ");
      throw new RksError(
        "INPUT_INVALID",
        `the answer is not that of issue or sign: wrong or missing fields ${fields}`,
        {
          suggestion: "Pass the data of an answer of issue or sign with format pem.",
        },
      );
    }
    const { private_key, private_key_type, ...rest } = parsed.data;
    this.certificate = rest.certificate;
    this.issuing_ca = rest.issuing_ca;
    this.ca_chain = rest.ca_chain;
    this.serial_number = rest.serial_number;
    this.not_before = rest.not_before;
    this.expiration = rest.expiration;
    this.private_key = private_key;
    this.private_key_type = private_key_type;
  }

  /** The leaf and its chain as DER, leaf first. @throws {RksError} CERTIFICATE_INVALID. */
  toCerts(): Uint8Array[] {
    return [this.certificate, ...this.ca_chain].flatMap((pem) => decodePemCertificates(pem));
  }

  /** Chain and PKCS#8 key as a transport takes them. @throws {RksError} INPUT_INVALID when the answer has no key, CERTIFICATE_INVALID. */
  toCredentials(): Credentials {
    if (this.private_key === undefined) {
      throw new RksError(
        "INPUT_INVALID",
        "the answer has no private key: the certificate was signed for a request",
        {
          suggestion: "Use the key that the request was made with.",
        },
      );
    }
    const privateKey = createPrivateKey(this.private_key).export({ type: "pkcs8", format: "der" });
    return { certificateChain: this.toCerts(), privateKey };
  }
}
