import { createPrivateKey, type KeyObject } from "node:crypto";
import { type Credentials, RksError } from "@rk8s/protocol";
import { decodePem } from "@rk8s/x509";
import { z } from "zod";
import type { JsonObject } from "../../vault/backend.js";

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

/** The answer of `issue` and `sign` in any format: Vault's fields, and the same as bytes. */
export class IssueCertificateResponse {
  readonly certificate: string;
  readonly issuing_ca: string;
  readonly ca_chain: readonly string[];
  readonly serial_number: string;
  /** Seconds since the epoch. */
  readonly not_before: number;
  readonly expiration: number;
  /** PEM, or base64 of DER; undefined for `sign`. */
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
          suggestion: "Pass the data of an answer of issue or sign .",
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
    return [firstCertificate(this.certificate), ...this.ca_chain.map(firstCertificate)];
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
    const privateKey = readKey(this.private_key).export({ type: "pkcs8", format: "der" });
    return { certificateChain: this.toCerts(), privateKey };
  }
}

/** Of PEM, a bundle with the key included, or of DER in base64. */
function firstCertificate(text: string): Uint8Array {
  if (!text.includes("-----BEGIN")) return Uint8Array.from(Buffer.from(text, "base64"));
  const block = decodePem(text).find(({ label }) => label === "CERTIFICATE");
  if (block !== undefined) return block.der;
  throw new RksError("CERTIFICATE_INVALID", "the answer's certificate has no CERTIFICATE block", {
    suggestion: "Pass the data of an answer of issue or sign.",
  });
}

/** Of PEM, or of DER in base64, which does not say which of the three forms it has. */
function readKey(text: string): KeyObject {
  if (text.includes("-----BEGIN")) return createPrivateKey(text);
  const key = Buffer.from(text, "base64");
  for (const type of ["pkcs8", "sec1", "pkcs1"] as const) {
    try {
      return createPrivateKey({ key, format: "der", type });
    } catch {
      continue;
    }
  }
  throw new RksError("INPUT_INVALID", "the answer's private key is in no known form", {
    suggestion: "Pass the data of an answer of issue.",
  });
}
