import { createPublicKey } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import { decodePemCertificates } from "@rk8s/x509";
import { z } from "zod";

import type { JsonObject } from "../../vault/backend.js";
import { flag, list, text } from "../../vault/field-types.js";

/** Each may be tried against a token. */
const MAX_KEYS = 16;
const MIN_RSA_BITS = 2048;

/** Fields of `config`, Vault's names. */
export const configFields = z.object({
  kubernetes_host: text(""),
  kubernetes_ca_cert: text("", { maxCharacters: 65_536 }),
  token_reviewer_jwt: text(""),
  pem_keys: list([]),
  issuer: text(""),
  disable_iss_validation: flag(true),
  disable_local_ca_jwt: flag(false),
  use_annotations_as_alias_metadata: flag(false),
});

/** How tokens of service accounts are checked, as it is kept. */
export const kubernetesConfig = z.object({
  /** Of the API server; empty: nobody is asked. */
  host: z.string(),
  /** PEM; empty: the certificate authorities that this machine trusts. */
  caCertificate: z.string(),
  /** With which the API server is asked; empty: with the token that is asked about. */
  reviewerJwt: z.string(),
  /** PEM; with these tokens are checked here and the API server is not asked. */
  pemKeys: z.array(z.string()).readonly(),
  /** Empty: Kubernetes' old default. */
  issuer: z.string(),
  ignoreIssuer: z.boolean(),
  disableLocalCaJwt: z.boolean(),
});
export type KubernetesConfig = Readonly<z.infer<typeof kubernetesConfig>>;

/**
 * Read a configuration; what was there before is replaced as a whole.
 * @throws {RksError} INPUT_INVALID, CERTIFICATE_INVALID, UNSUPPORTED for alias metadata from annotations.
 */
export function readConfig(fields: z.output<typeof configFields>): KubernetesConfig {
  if (fields.use_annotations_as_alias_metadata) {
    throw new RksError("UNSUPPORTED", `"use_annotations_as_alias_metadata" is not built`, {
      suggestion: "Leave it out.",
    });
  }
  const { kubernetes_host: host, kubernetes_ca_cert: caCertificate, pem_keys: pemKeys } = fields;
  if (host === "" && pemKeys.length === 0) {
    throw wrong(
      "neither kubernetes_host nor pem_keys is given",
      "Give pem_keys, or the API server's address.",
    );
  }
  if (host !== "") assertHost(host);
  if (caCertificate !== "") decodePemCertificates(caCertificate);
  if (pemKeys.length > MAX_KEYS) {
    throw wrong(`${pemKeys.length} keys are too many`, `Give at most ${MAX_KEYS} keys.`);
  }
  for (const [index, pem] of pemKeys.entries()) assertPublicKey(pem, index);
  return {
    host: host.replace(/\/+$/, ""),
    caCertificate,
    reviewerJwt: fields.token_reviewer_jwt,
    pemKeys,
    issuer: fields.issuer,
    ignoreIssuer: fields.disable_iss_validation,
    disableLocalCaJwt: fields.disable_local_ca_jwt,
  };
}

/** A configuration in Vault's words; the reviewer's token is not shown. */
export function describeConfig(config: KubernetesConfig): JsonObject {
  return {
    disable_iss_validation: config.ignoreIssuer,
    disable_local_ca_jwt: config.disableLocalCaJwt,
    issuer: config.issuer,
    kubernetes_ca_cert: config.caCertificate,
    kubernetes_host: config.host,
    pem_keys: config.pemKeys,
    token_reviewer_jwt_set: config.reviewerJwt !== "",
  };
}

function assertHost(host: string): void {
  const url = URL.canParse(host) ? new URL(host) : undefined;
  if (url?.protocol === "https:" && url.username === "" && url.search === "" && url.hash === "") return;
  throw wrong(
    `kubernetes_host ${JSON.stringify(host.slice(0, 120))} is no https address`,
    "Write it like https://kubernetes.default.svc:443.",
  );
}

/** What is wrong is said without the text: it could be the private key. */
function assertPublicKey(pem: string, index: number): void {
  const problem = pem.includes("PRIVATE KEY") ? "is a private key" : publicKeyProblem(pem);
  if (problem === undefined) return;
  throw wrong(
    `pem_keys[${index}] ${problem}`,
    "Give the public keys that Kubernetes signs with, or certificates with them, in PEM.",
  );
}

function publicKeyProblem(pem: string): string | undefined {
  try {
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = createPublicKey(pem);
    if (type === "rsa" && (details?.modulusLength ?? 0) < MIN_RSA_BITS) {
      return `is an RSA key of less than ${MIN_RSA_BITS} bits`;
    }
    return type === "rsa" || type === "ec" ? undefined : `is a key of type ${type}, not RSA or EC`;
  } catch {
    return "is no public key in PEM";
  }
}

function wrong(message: string, suggestion: string): RksError {
  return new RksError("INPUT_INVALID", message, { suggestion });
}
