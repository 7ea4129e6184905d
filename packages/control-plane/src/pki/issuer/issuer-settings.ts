import { RksError } from "@rk8s/protocol";
import { z } from "zod";
import type { JsonObject } from "../../vault/backend.js";
import { flag, list, text } from "../../vault/field-types.js";
import type { PkiMount } from "../pki-mount.js";
import { formatSerialNumber } from "../serial-number.js";
import { NO_ACCESS_URLS } from "./access-points.js";
import { accessUrlFields, changeAccessUrls } from "./access-url-fields.js";
import {
  type Issuer,
  ISSUER_USAGES,
  type IssuerSettings,
  type IssuerUsage,
  NOT_AFTER_BEHAVIORS,
} from "./issuer.js";
import { revocationAlgorithm } from "./revocation-algorithm.js";

/** Body of a write or a patch of `issuer/:issuer_ref`; nothing has a default, so that a patch is told from a write. */
export const issuerFields = z.object({
  issuer_name: text(),
  leaf_not_after_behavior: text(),
  usage: list(),
  manual_chain: list(),
  revocation_signature_algorithm: text(),
  enable_aia_url_templating: flag(),
  ...accessUrlFields,
});
export type IssuerFields = z.output<typeof issuerFields>;

/** What a whole write makes of the fields that it leaves out. */
const DEFAULTS: Required<{ readonly [name in keyof IssuerFields]: NonNullable<IssuerFields[name]> }> = {
  issuer_name: "",
  leaf_not_after_behavior: "err",
  usage: ISSUER_USAGES,
  manual_chain: [],
  revocation_signature_algorithm: "",
  enable_aia_url_templating: false,
  issuing_certificates: [],
  crl_distribution_points: [],
  delta_crl_distribution_points: [],
  ocsp_servers: [],
};

/** Fields of a whole write: what is left out gets its default, but for usages that the issuer cannot have. */
export function completeIssuerFields(issuer: Issuer, fields: IssuerFields): IssuerFields {
  const usable = ISSUER_USAGES.filter((usage) => refusalOfUsage(issuer, usage) === undefined);
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  return { ...DEFAULTS, usage: usable, ...given };
}

/**
 * What a patch changes about an issuer.
 * @throws {RksError} INPUT_INVALID naming the field whose value does not fit, or the member of a chain that is not known.
 */
export function issuerSettings(pki: PkiMount, issuer: Issuer, fields: IssuerFields): Partial<IssuerSettings> {
  const { issuer_name: name, revocation_signature_algorithm: algorithm } = fields;
  const { certificate } = issuer;
  const accessUrls = changeAccessUrls(issuer.accessUrls ?? NO_ACCESS_URLS, {
    ...fields,
    enableTemplating: fields.enable_aia_url_templating,
  });
  return {
    ...(name === undefined ? {} : { name }),
    ...(fields.leaf_not_after_behavior === undefined
      ? {}
      : { leafNotAfterBehavior: behavior(fields.leaf_not_after_behavior) }),
    ...(fields.usage === undefined ? {} : { usage: usages(issuer, fields.usage) }),
    ...(fields.manual_chain === undefined
      ? {}
      : { manualChain: manualChain(pki, issuer, fields.manual_chain) }),
    ...(algorithm === undefined
      ? {}
      : {
          revocationSignatureAlgorithm:
            algorithm === "" ? "" : revocationAlgorithm(algorithm, certificate.publicKey),
        }),
    accessUrls,
  };
}

/** An issuer as it is read. */
export function issuerData(pki: PkiMount, issuer: Issuer): JsonObject {
  const urls = issuer.accessUrls ?? NO_ACCESS_URLS;
  return {
    issuer_id: issuer.id,
    issuer_name: issuer.name,
    key_id: issuer.keyId,
    certificate: pki.issuers.pemOf(issuer),
    manual_chain: issuer.manualChain.length === 0 ? null : issuer.manualChain,
    ca_chain: pki.issuers.pemChainOf(issuer),
    serial_number: formatSerialNumber(issuer.certificate.serialNumber),
    leaf_not_after_behavior: issuer.leafNotAfterBehavior,
    usage: ISSUER_USAGES.filter((usage) => issuer.usage.includes(usage)).join(","),
    revocation_signature_algorithm: issuer.revocationSignatureAlgorithm,
    issuing_certificates: urls.issuing_certificates,
    crl_distribution_points: urls.crl_distribution_points,
    delta_crl_distribution_points: urls.delta_crl_distribution_points,
    ocsp_servers: urls.ocsp_servers,
    enable_aia_url_templating: urls.enable_templating,
    revoked: issuer.revokedAtMs !== 0,
    ...(issuer.revokedAtMs === 0
      ? {}
      : {
          revocation_time: Math.floor(issuer.revokedAtMs / 1000),
          revocation_time_rfc3339: new Date(issuer.revokedAtMs).toISOString(),
        }),
  };
}

function behavior(value: string): IssuerSettings["leafNotAfterBehavior"] {
  const found = NOT_AFTER_BEHAVIORS.find((known) => known === value);
  if (found !== undefined) return found;
  throw refused(
    `leaf_not_after_behavior ${JSON.stringify(value.slice(0, 40))} is not known`,
    `Use ${NOT_AFTER_BEHAVIORS.join(", ")}.`,
  );
}

function usages(issuer: Issuer, values: readonly string[]): IssuerUsage[] {
  const found = values.map((value) => {
    const usage = ISSUER_USAGES.find((known) => known === value);
    if (usage === undefined) {
      throw refused(
        `usage ${JSON.stringify(value.slice(0, 40))} is not known`,
        `Use ${ISSUER_USAGES.join(", ")}.`,
      );
    }
    const refusal = refusalOfUsage(issuer, usage);
    if (refusal !== undefined) throw refused(`usage "${usage}" is refused: ${refusal}`, "Leave it out.");
    return usage;
  });
  return ISSUER_USAGES.filter((usage) => usage === "read-only" || found.includes(usage));
}

function refusalOfUsage({ revokedAtMs, certificate }: Issuer, usage: IssuerUsage): string | undefined {
  if (usage === "issuing-certificates" && revokedAtMs !== 0) return "the issuer is revoked";
  const signsCrls = certificate.keyUsage?.includes("cRLSign") ?? true;
  if (usage === "crl-signing" && !signsCrls) return "the certificate's key usage has no cRLSign";
  return undefined;
}

/** Ids of a chain that was given by names or ids, the issuer itself first. */
function manualChain(pki: PkiMount, issuer: Issuer, references: readonly string[]): string[] {
  const ids = references.map((reference) => pki.issuers.require(reference).id);
  if (ids.length > 0 && ids[0] !== issuer.id) {
    throw refused(
      `manual_chain begins with ${JSON.stringify(references[0])}`,
      "Begin the chain with the issuer itself.",
    );
  }
  if (new Set(ids).size !== ids.length) {
    throw refused("manual_chain names an issuer twice", "Name each issuer once.");
  }
  return ids;
}

function refused(problem: string, suggestion: string): RksError {
  return new RksError("INPUT_INVALID", problem, { suggestion });
}
