import { z } from "zod";
import { flag, text } from "../../vault/field-types.js";
import { type Access, type BackendPath, operation } from "../../vault/path-table.js";
import { DEFAULT_REFERENCE } from "../issuer/reference.js";
import type { PkiMount } from "../pki-mount.js";
import { signIntermediateFields } from "./ca-fields.js";
import { signIntermediate } from "./sign-intermediate.js";
import { signSelfIssued } from "./sign-self-issued.js";

const selfIssuedFields = z.object({
  certificate: text(""),
  require_matching_certificate_algorithms: flag(false),
});
const issuerRef = { issuer_ref: text(DEFAULT_REFERENCE) };

/** Signing other CAs: `root/sign-intermediate`, `root/sign-self-issued` and both below `issuer/:issuer_ref`. */
export function signingPaths(pki: PkiMount): BackendPath[] {
  const intermediate = "Sign a request as an intermediate CA.";
  const selfIssued = "Cross-sign another CA's self-issued certificate.";
  const access: Access = "sudo";
  return [
    {
      pattern: "root/sign-intermediate",
      operations: {
        update: operation({
          summary: intermediate,
          fields: signIntermediateFields.extend(issuerRef),
          handle: ({ fields }) => signIntermediate(pki, pki.issuers.require(fields.issuer_ref), fields),
        }),
      },
    },
    {
      pattern: "issuer/:issuer_ref/sign-intermediate",
      operations: {
        update: operation({
          summary: intermediate,
          fields: signIntermediateFields,
          handle: ({ fields, parameters: { issuer_ref = "" } }) =>
            signIntermediate(pki, pki.issuers.require(issuer_ref), fields),
        }),
      },
    },
    {
      pattern: "root/sign-self-issued",
      operations: {
        update: operation({
          access,
          summary: selfIssued,
          fields: selfIssuedFields.extend(issuerRef),
          handle: ({ fields }) => signSelfIssued(pki, pki.issuers.require(fields.issuer_ref), fields),
        }),
      },
    },
    {
      pattern: "issuer/:issuer_ref/sign-self-issued",
      operations: {
        update: operation({
          access,
          summary: selfIssued,
          fields: selfIssuedFields,
          handle: ({ fields, parameters: { issuer_ref = "" } }) =>
            signSelfIssued(pki, pki.issuers.require(issuer_ref), fields),
        }),
      },
    },
  ];
}
