import { type Clock, hex } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { encodePem, type OcspCertStatus, parseCertificate } from "@rk8s/x509";
import type { Answer } from "../vault/backend.js";
import { type BackendPath, operation } from "../vault/path-table.js";
import { type CertificateAuthority, subjectKeyIdOf } from "./certificate-authority.js";
import { ClusterCrls } from "./cluster-crl.js";
import type { ClusterRevocations } from "./cluster-revocation.js";
import { readClusterCertificate } from "./cluster-store.js";
import { crlIdOf } from "./revocation/crl-signer.js";
import { ocspPaths } from "./revocation/ocsp-paths.js";
import { type OcspIssuer, OcspResponder, type OcspSource } from "./revocation/ocsp-responder.js";

/** How long an OCSP answer holds: nothing is asked of it that a node could not wait for. */
const OCSP_VALIDITY_MS = 3_600_000;
const DEFAULT_ISSUER = "default";

export interface ClusterStatusParts {
  readonly revocations: ClusterRevocations;
  readonly barrier: Storage;
  readonly prefix: string;
  readonly clock: Clock;
  /** Who signs, the one that issues now first; the same array as long as nothing changes. Empty before there is a root. */
  readonly authorities: () => readonly CertificateAuthority[];
}

/**
 * What everyone may ask of the state of the cluster's certificates: `crl`, `crl/pem` and `cert/crl` of the root that issues
 * now, `issuer/KEY-ID/crl/…` of each root whose key is kept, and `ocsp` of all.
 */
export function clusterStatusPaths(parts: ClusterStatusParts): BackendPath[] {
  const crls = new ClusterCrls(parts);
  const path = (pattern: string, summary: string, answer: (der: Uint8Array) => Answer): BackendPath => ({
    pattern,
    operations: {
      read: operation({
        access: "anyone",
        summary,
        handle: async ({ parameters }) => {
          const authority = authorityOf(parts.authorities(), parameters["issuer_ref"] ?? DEFAULT_ISSUER);
          return authority === undefined ? undefined : answer(await crls.read(authority));
        },
      }),
    },
  });
  return [
    path("crl", "Read the list of revoked certificates, DER.", derAnswer),
    path("crl/pem", "Read the list of revoked certificates, PEM.", pemAnswer),
    path("cert/crl", "Read the list of revoked certificates, PEM in JSON.", (der) => ({
      data: { certificate: pemOf(der), revocation_time: 0, revocation_time_rfc3339: "" },
    })),
    path("issuer/:issuer_ref/crl/der", "Read a root's list of revoked certificates, DER.", derAnswer),
    path("issuer/:issuer_ref/crl/pem", "Read a root's list of revoked certificates, PEM.", pemAnswer),
    ...ocspPaths(new OcspResponder(ocspSource(parts))),
  ];
}

/** The root that issues now, or the one with a key identifier: hexadecimal digits, with colons or without. */
function authorityOf(
  authorities: readonly CertificateAuthority[],
  reference: string,
): CertificateAuthority | undefined {
  if (reference === DEFAULT_ISSUER) return authorities[0];
  const keyId = reference.replaceAll(":", "").toLowerCase();
  return authorities.find(({ certificate }) => hex(subjectKeyIdOf(certificate)) === keyId);
}

function derAnswer(der: Uint8Array): Answer {
  return { data: { crl: pemOf(der) }, raw: { contentType: "application/pkix-crl", body: der } };
}

function pemAnswer(der: Uint8Array): Answer {
  return { data: { crl: pemOf(der) }, raw: { contentType: "application/x-pem-file", body: pemOf(der) } };
}

interface SigningIssuer extends OcspIssuer {
  readonly authority: CertificateAuthority;
}

/** Every certificate of the cluster's CA is kept until it is over: one that is not known was never issued, or is over. */
function ocspSource({
  revocations,
  barrier,
  prefix,
  clock,
  authorities,
}: ClusterStatusParts): OcspSource<SigningIssuer> {
  let known:
    { readonly of: readonly CertificateAuthority[]; readonly issuers: readonly SigningIssuer[] } | undefined;
  const issuers = (): readonly SigningIssuer[] => {
    const of = authorities();
    if (known?.of !== of) {
      const made = of.map((authority) => ({ certificate: authority.certificate, maySign: true, authority }));
      known = { of, issuers: made };
    }
    return known.issuers;
  };
  return {
    clock,
    isEnabled: true,
    validityMs: OCSP_VALIDITY_MS,
    get issuers() {
      return issuers();
    },
    get defaultIssuer() {
      return issuers()[0];
    },
    signer: ({ authority }) => Promise.resolve({ authority, options: {} }),
    async statusOf(serialNumber, crlId): Promise<OcspCertStatus> {
      const issuer = issuers().find(({ certificate }) => crlIdOf(certificate) === crlId);
      const keyId = issuer === undefined ? undefined : hex(subjectKeyIdOf(issuer.certificate));
      const revocation = await revocations.find(serialNumber);
      if (revocation?.issuerKeyId === keyId && revocation !== undefined) {
        return { status: "revoked", revocationTimeMs: revocation.revokedAtMs, reason: revocation.reason };
      }
      const kept = await readClusterCertificate(barrier, prefix, serialNumber);
      const signedBy = kept === undefined ? undefined : parseCertificate(kept.der).authorityKeyId;
      return { status: signedBy !== undefined && hex(signedBy) === keyId ? "good" : "unknown" };
    },
  };
}

function pemOf(der: Uint8Array): string {
  return encodePem("X509 CRL", der).trimEnd();
}
