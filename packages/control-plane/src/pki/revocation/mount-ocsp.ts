import type { OcspCertStatus } from "@rk8s/x509";
import type { Issuer, IssuerState } from "../issuer/issuer.js";
import { revocationSigning } from "../issuer/revocation-algorithm.js";
import type { PkiMount } from "../pki-mount.js";
import type { OcspIssuer, OcspSource } from "./ocsp-responder.js";

interface MountIssuer extends OcspIssuer {
  readonly issuer: Issuer;
}

/**
 * What a mount knows of its certificates. One that it does not know is `good` unless it is revoked: roles with `no_store`
 * keep none.
 */
export function mountOcspSource(pki: PkiMount): OcspSource<MountIssuer> {
  let known: { readonly state: IssuerState; readonly issuers: readonly MountIssuer[] } | undefined;
  const issuers = (): readonly MountIssuer[] => {
    const { state } = pki.issuers;
    if (known?.state !== state) known = { state, issuers: [...state.issuers.values()].map(mountIssuer) };
    return known.issuers;
  };
  return {
    clock: pki.clock,
    get isEnabled() {
      return !pki.crlConfig.settings.ocsp_disable;
    },
    get validityMs() {
      return pki.crlConfig.ocspExpiryMs;
    },
    get issuers() {
      return issuers();
    },
    get defaultIssuer() {
      const found = pki.issuers.find("default");
      return issuers().find(({ issuer }) => issuer === found);
    },
    async signer({ issuer }) {
      const authority = await pki.issuers.authority(issuer, "ocsp-signing");
      return { authority, options: revocationSigning(issuer) };
    },
    async statusOf(serialNumber, crlId): Promise<OcspCertStatus> {
      const record = await pki.revocations.find(serialNumber);
      // A record of no list waits for its issuer to be found: to be safe it may be this one.
      if (record === undefined || (record.crlId !== crlId && record.crlId !== "")) return { status: "good" };
      return { status: "revoked", revocationTimeMs: record.revokedAtMs };
    },
  };
}

function mountIssuer(issuer: Issuer): MountIssuer {
  const maySign = issuer.keyId !== "" && issuer.usage.includes("ocsp-signing");
  return { certificate: issuer.certificate, maySign, issuer };
}
