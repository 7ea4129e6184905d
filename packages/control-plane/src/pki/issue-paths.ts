import { RksError } from "@rk8s/protocol";
import { decodePem, parseCertificateRequest } from "@rk8s/x509";
import type { JsonObject } from "../vault/backend.js";
import { type BackendPath, operation, parameter } from "../vault/path-table.js";
import type { IssuedCertificate } from "./certificate-authority.js";
import { encodeCertificate, encodePrivateKey } from "./certificate-format.js";
import { assertKeyAllowed, decideKey, decideLeaf, type IssuanceContext } from "./issuance.js";
import type { Issuer } from "./issuer/issuer.js";
import type { PkiMount } from "./pki-mount.js";
import { issueSchema, type NamesRequest, signSchema } from "./requests.js";
import type { PkiRole } from "./role.js";
import { formatSerialNumber } from "./serial-number.js";
import { assertProofOfPossession } from "./signing.js";

/** `issue/:role` and `sign/:role`. */
export function issuePaths(pki: PkiMount): BackendPath[] {
  return [
    {
      pattern: "issue/:role",
      operations: {
        update: operation({
          summary: "Make a key and a certificate for it by a role.",
          fields: issueSchema,
          handle: async (request) => {
            const { fields } = request;
            const roleName = parameter(request, "role");
            const role = await pki.roles.require(roleName);
            const issuer = pki.issuers.require("default");
            const authority = await pki.issuers.authority(issuer, "issuing-certificates");
            const { leaf, warnings } = decideLeaf(role, fields, context(pki, roleName, issuer, undefined));
            const keyPair = await pki.keyMaker.create(decideKey(role, fields));
            const issued = authority.sign({ ...leaf, spki: keyPair.spki });
            await record(pki, issuer, role, roleName, issued);
            const secret = encodePrivateKey(keyPair.privateKey, fields);
            const data = answer(pki, issued, fields, issuer);
            const certificate =
              fields.format === "pem_bundle"
                ? `${secret.private_key}\n${String(data["certificate"])}`
                : data["certificate"];
            return { data: { ...data, certificate, ...secret }, warnings };
          },
        }),
      },
    },
    {
      pattern: "sign/:role",
      operations: {
        update: operation({
          summary: "Sign a request by a role.",
          fields: signSchema,
          handle: async (request) => {
            const { fields } = request;
            const roleName = parameter(request, "role");
            const role = await pki.roles.require(roleName);
            const issuer = pki.issuers.require("default");
            const authority = await pki.issuers.authority(issuer, "issuing-certificates");
            const csr = parseCertificateRequest(csrBytes(fields.csr));
            assertProofOfPossession(csr);
            assertKeyAllowed(role, csr.publicKey, roleName);
            const { leaf, warnings } = decideLeaf(role, fields, context(pki, roleName, issuer, csr));
            const issued = authority.sign({ ...leaf, spki: csr.spki });
            await record(pki, issuer, role, roleName, issued);
            return { data: answer(pki, issued, fields, issuer), warnings };
          },
        }),
      },
    },
  ];
}

function context(
  pki: PkiMount,
  roleName: string,
  issuer: Issuer,
  csr: IssuanceContext["csr"],
): IssuanceContext {
  const { defaultTtlSeconds, maxTtlSeconds } = pki.mount;
  const issuerNotAfter = issuer.certificate.notAfter;
  return { roleName, now: pki.clock.now(), defaultTtlSeconds, maxTtlSeconds, issuerNotAfter, csr };
}

async function record(
  pki: PkiMount,
  issuer: Issuer,
  role: PkiRole,
  roleName: string,
  issued: IssuedCertificate,
): Promise<void> {
  if (role.no_store) return;
  const writes = pki.certificates.writes(issued.serialNumber, {
    der: issued.der,
    issuerId: issuer.id,
    role: roleName,
  });
  await pki.storage.transaction([], writes);
}

function answer(pki: PkiMount, issued: IssuedCertificate, request: NamesRequest, issuer: Issuer): JsonObject {
  const issuingCa = encodeCertificate(issuer.certificate.der, request.format);
  const links = pki.issuers.chainOf(issuer).map(({ certificate }) => certificate.der);
  const all = links.map((der) => encodeCertificate(der, request.format));
  const chain = request.remove_roots_from_chain ? all.slice(0, -1) : all;
  const certificate = encodeCertificate(issued.der, request.format);
  return {
    certificate: request.format === "pem_bundle" ? [certificate, ...chain].join("\n") : certificate,
    issuing_ca: issuingCa,
    ca_chain: chain,
    serial_number: formatSerialNumber(issued.serialNumber),
    not_before: issued.notBefore / 1000,
    expiration: issued.notAfter / 1000,
  };
}

/** The first request of a PEM text. @throws {RksError} CSR_INVALID. */
function csrBytes(pem: string): Uint8Array {
  const block = decodePem(pem, { code: "CSR_INVALID" }).find(({ label }) =>
    label.endsWith("CERTIFICATE REQUEST"),
  );
  if (block !== undefined) return block.der;
  throw new RksError("CSR_INVALID", 'field "csr" has no CERTIFICATE REQUEST block', {
    suggestion: "Send the request in PEM.",
  });
}
