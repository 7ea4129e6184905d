import { RksError } from "@rk8s/protocol";
import type { CertificateRequest } from "@rk8s/x509";
import type { CertificateFields } from "../certificate-authority.js";
import { encodeLeafExtensions } from "../leaf-extensions.js";
import { encodePolicyIdentifiers } from "../role/policy-identifiers.js";
import { roleExtendedKeyUsage, roleKeyUsage } from "../role/role.js";
import type { PkiRole } from "../role/role-fields.js";
import { encodeSubject } from "../subject.js";
import { assertNamesAllowed, type NameContext } from "./allowed-names.js";
import type { LeafRequest } from "./issue-fields.js";
import { requestedNames } from "./requested-names.js";
import { unusedRequestWarnings } from "./unused-request.js";
import { decideValidity, type ValidityBounds } from "./validity.js";

/** What decides about a certificate besides role and request. */
export interface IssuanceContext extends NameContext, ValidityBounds {
  /** The CSR for `sign`, its signature checked; undefined for `issue`. */
  readonly csr: CertificateRequest | undefined;
}

export interface Issuance {
  /** What the issuer signs, together with a key. */
  readonly leaf: Omit<CertificateFields, "spki">;
  readonly warnings: readonly string[];
}

const MAX_KEY_ID_BYTES = 64;

/**
 * Decide by a role what a requested certificate says; OpenBao's rules, in its order.
 * @throws {RksError} ROLE_REFUSED for names that the role does not allow, INPUT_INVALID for names that are none and for dates
 * that cannot be.
 */
export function decideLeaf(role: PkiRole, request: LeafRequest, context: IssuanceContext): Issuance {
  const { csr } = context;
  const warnings: string[] = [];
  const asked = requestedNames(role, request, csr, warnings);
  assertNamesAllowed(asked, role, context);
  const { commonName, serialNumber, userIds, otherNames, ...names } = asked;
  const subject = encodeSubject(role, commonName, { serialNumber, userIds });
  const extensions = encodeLeafExtensions(
    {
      keyUsage: roleKeyUsage(role),
      extendedKeyUsage: roleExtendedKeyUsage(role),
      names: { ...names, utf8OtherNames: otherNames },
      basicConstraints: role.basic_constraints_valid_for_non_ca,
    },
    subject,
  );
  const policies = encodePolicyIdentifiers(role.policy_identifiers);
  if (policies !== undefined) extensions.push(policies);
  if (csr !== undefined) warnings.push(...unusedRequestWarnings(csr, role));
  const validity = decideValidity(role, request, context, warnings);
  return {
    leaf: {
      subject,
      ...validity,
      extensions,
      signatureBits: role.signature_bits,
      usePss: role.use_pss,
      subjectKeyId: parseKeyIdentifier(request.skid),
    },
    warnings,
  };
}

/** The field `skid`: hexadecimal digits in any of the usual spellings; undefined for none. @throws {RksError} INPUT_INVALID. */
export function parseKeyIdentifier(text: string): Uint8Array | undefined {
  const digits = text.replaceAll(/[:\- ]/g, "");
  if (digits === "") return undefined;
  if (/^(?:[0-9a-f]{2})+$/i.test(digits) && digits.length <= 2 * MAX_KEY_ID_BYTES) {
    return Uint8Array.from(Buffer.from(digits, "hex"));
  }
  throw new RksError("INPUT_INVALID", `skid ${JSON.stringify(text.slice(0, 80))} is no key identifier`, {
    suggestion: "Write pairs of hexadecimal digits, with or without colons between them.",
  });
}
