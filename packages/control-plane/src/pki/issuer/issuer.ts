import type { Certificate } from "@rk8s/x509";

/** What an issuer may be used for; reading it is always allowed. */
export const ISSUER_USAGES = ["read-only", "issuing-certificates", "crl-signing", "ocsp-signing"] as const;
export type IssuerUsage = (typeof ISSUER_USAGES)[number];

/** What happens when a leaf would outlive its issuer: refuse it, cut it with a warning, or allow it. */
export const NOT_AFTER_BEHAVIORS = ["err", "truncate", "permit"] as const;
export type NotAfterBehavior = (typeof NOT_AFTER_BEHAVIORS)[number];

/** Where relying parties find the issuer's certificate and what it revoked (RFC 5280 §4.2.1.13, §4.2.2.1). */
export interface AccessUrls {
  readonly issuing_certificates: readonly string[];
  readonly crl_distribution_points: readonly string[];
  readonly delta_crl_distribution_points: readonly string[];
  readonly ocsp_servers: readonly string[];
  /** Whether the URLs are templates with `{{issuer_id}}`, `{{cluster_path}}` and `{{cluster_aia_path}}`. */
  readonly enable_templating: boolean;
}

/** What an operator decides about an issuer. */
export interface IssuerSettings {
  /** Empty: none. */
  readonly name: string;
  readonly leafNotAfterBehavior: NotAfterBehavior;
  readonly usage: readonly IssuerUsage[];
  /** Ids of the issuers of its chain, itself first; empty: the chain is built. */
  readonly manualChain: readonly string[];
  /** In Go's words, such as `SHA384WithRSA`; empty: what the key signs certificates with. */
  readonly revocationSignatureAlgorithm: string;
  /** Its own access points; undefined: those of the mount. */
  readonly accessUrls: AccessUrls | undefined;
  /** When it was revoked, milliseconds; 0: it is not. */
  readonly revokedAtMs: number;
}

/** A certificate authority that the mount knows; with its key also one that it can sign with. */
export interface Issuer extends IssuerSettings {
  readonly id: string;
  /** Counts the mount's issuers in the order in which they came. */
  readonly sequence: number;
  readonly certificate: Certificate;
  /** The key of the mount that is its own; empty: the mount does not have it. */
  readonly keyId: string;
}

/** A key that issuers of the mount can have; its private part is read only to sign. */
export interface IssuerKey {
  readonly id: string;
  /** Empty: none. */
  readonly name: string;
  readonly type: "rsa" | "ec" | "ed25519";
  readonly bits: number;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
}

/** All issuers and keys of a mount at one moment. Replaced as a whole, never changed. */
export interface IssuerState {
  /** By id, oldest first. */
  readonly issuers: ReadonlyMap<string, Issuer>;
  readonly keys: ReadonlyMap<string, IssuerKey>;
  /** Ids; empty: none. */
  readonly defaultIssuerId: string;
  readonly defaultKeyId: string;
  /** Whether a new issuer with a key becomes the default. */
  readonly defaultFollowsLatest: boolean;
  /** When anything of it was changed, milliseconds; always a later second than before. 0: never. */
  readonly changedAtMs: number;
}
