import { RksError } from "@rk8s/protocol";
import { type CertificateRequest, decodePem, parseCertificateRequest } from "@rk8s/x509";
import type { z } from "zod";
import type { Answer, PathRequest } from "../../vault/backend.js";
import { type BackendPath, operation, parameter } from "../../vault/path-table.js";
import type { Issuer } from "../issuer/issuer.js";
import type { PkiMount } from "../pki-mount.js";
import { parseRole } from "../role/role.js";
import type { PkiRole } from "../role/role-fields.js";
import { assertKeyAllowed, proveCsrKey } from "./csr-key.js";
import { issueLeaf } from "./issue-leaf.js";
import { issueSchema, type LeafRequest, signSchema, verbatimSchema } from "./issue-fields.js";
import { decideLeaf, type IssuanceContext } from "./leaf.js";
import { createLeafKey } from "./leaf-key.js";
import { decideLeafKey, keyForm } from "./requested-key.js";
import { templateSource } from "./template-source.js";
import { decideVerbatim } from "./verbatim.js";

/** The certificate's content is the CSR's; without a role named, the times are the mount's. */
const VERBATIM_ROLE = parseRole({ key_type: "any", not_before_duration: 30 });
const ISSUER = "issuer/:issuer_ref";

/** `issue`, `sign` and `sign-verbatim`, by the role's issuer or by one that is named. */
export function issuePaths(pki: PkiMount): BackendPath[] {
  const issue = operation({
    summary: "Make a key and a certificate for it by a role.",
    fields: issueSchema,
    handle: (request) => issueByRole(pki, request),
  });
  const sign = operation({
    summary: "Sign a request by a role.",
    fields: signSchema,
    handle: (request) => signByRole(pki, request),
  });
  const verbatim = operation({
    summary: "Sign a request as it is; of a role only the times count.",
    fields: verbatimSchema,
    handle: (request) => signVerbatim(pki, request),
  });
  return [
    { pattern: "issue/:role", operations: { update: issue } },
    { pattern: `${ISSUER}/issue/:role`, operations: { update: issue } },
    { pattern: "sign/:role", operations: { update: sign } },
    { pattern: `${ISSUER}/sign/:role`, operations: { update: sign } },
    { pattern: "sign-verbatim", operations: { update: verbatim } },
    { pattern: "sign-verbatim/:role", operations: { update: verbatim } },
    { pattern: `${ISSUER}/sign-verbatim`, operations: { update: verbatim } },
    { pattern: `${ISSUER}/sign-verbatim/:role`, operations: { update: verbatim } },
  ];
}

async function issueByRole(
  pki: PkiMount,
  request: PathRequest<z.output<typeof issueSchema>>,
): Promise<Answer> {
  const { fields } = request;
  const roleName = parameter(request, "role");
  const role = await pki.roles.require(roleName);
  const issuer = chooseIssuer(pki, request, role);
  const { leaf, warnings } = decideLeaf(role, fields, context(pki, request, { roleName, issuer }));
  const { spec, warnings: ofKey } = decideLeafKey(role, fields);
  const key = await createLeafKey(spec, keyForm(fields.private_key_format), pki.keyMaker);
  try {
    return await issueLeaf(pki, {
      issuer,
      role,
      roleName,
      request: fields,
      leaf: { ...leaf, spki: key.spki },
      key,
      warnings: [...warnings, ...ofKey],
    });
  } finally {
    key.privateKey.fill(0);
  }
}

async function signByRole(pki: PkiMount, request: PathRequest<z.output<typeof signSchema>>): Promise<Answer> {
  const { fields } = request;
  const roleName = parameter(request, "role");
  const role = await pki.roles.require(roleName);
  const issuer = chooseIssuer(pki, request, role);
  const csr = readCsr(fields.csr);
  assertKeyAllowed(role, await proveCsrKey(csr), roleName);
  const { leaf, warnings } = decideLeaf(role, fields, context(pki, request, { roleName, issuer, csr }));
  return issueLeaf(pki, {
    issuer,
    role,
    roleName,
    request: fields,
    leaf: { ...leaf, spki: csr.spki },
    key: undefined,
    warnings,
  });
}

async function signVerbatim(
  pki: PkiMount,
  request: PathRequest<z.output<typeof verbatimSchema>>,
): Promise<Answer> {
  const { fields } = request;
  const roleName = request.parameters["role"] ?? "";
  const role = roleName === "" ? VERBATIM_ROLE : await pki.roles.require(roleName);
  const issuer = chooseIssuer(pki, request, role);
  const csr = readCsr(fields.csr);
  await proveCsrKey(csr);
  const { leaf, warnings } = decideVerbatim(role, fields, {
    ...context(pki, request, { roleName, issuer }),
    csr,
  });
  return issueLeaf(pki, {
    issuer,
    role,
    roleName,
    request: fields,
    leaf: { ...leaf, spki: csr.spki },
    key: undefined,
    warnings,
  });
}

/** The one that the path names, or else the role's. @throws {RksError} INPUT_INVALID when there is none. */
function chooseIssuer(pki: PkiMount, request: PathRequest<LeafRequest>, role: PkiRole): Issuer {
  return pki.issuers.require(request.parameters["issuer_ref"] ?? role.issuer_ref);
}

function context(
  pki: PkiMount,
  request: PathRequest<LeafRequest>,
  parts: { readonly roleName: string; readonly issuer: Issuer; readonly csr?: CertificateRequest },
): IssuanceContext {
  const { roleName, issuer, csr } = parts;
  const { defaultTtlSeconds, maxTtlSeconds } = pki.mount;
  return {
    roleName,
    csr,
    caller: templateSource(request.caller),
    now: pki.clock.now(),
    defaultTtlSeconds,
    maxTtlSeconds,
    issuerNotAfter: issuer.certificate.notAfter,
    leafNotAfterBehavior: issuer.leafNotAfterBehavior,
  };
}

/** The first request of a PEM text. @throws {RksError} CSR_INVALID. */
function readCsr(pem: string): CertificateRequest {
  const block = decodePem(pem, { code: "CSR_INVALID" }).find(({ label }) =>
    label.endsWith("CERTIFICATE REQUEST"),
  );
  if (block !== undefined) return parseCertificateRequest(block.der);
  throw new RksError("CSR_INVALID", 'field "csr" has no CERTIFICATE REQUEST block', {
    suggestion: "Send the request in PEM.",
  });
}
