import type { Secret } from "@rk8s/protocol";

/** What `rks` runs on: the config file with every default filled in and every path absolute. */
export interface ControlPlaneConfig {
  /** Where agents connect over QUIC. Port 0 picks one. */
  readonly quicAddress: HostPort;
  /** Where the Vault-compatible API is served over HTTPS, from the first unseal on. Port 0 picks one; undefined: nowhere. */
  readonly httpAddress: HostPort | undefined;
  /** What HTTPS is served with; undefined: a certificate of the cluster's own CA. */
  readonly httpTls: HttpTlsConfig | undefined;
  /** Host names and IP addresses for the server certificate besides those of `quicAddress`. */
  readonly advertise: readonly string[];
  /** SPIFFE trust domain, the authority part of every identity's URI. */
  readonly trustDomain: string;
  /** Absolute. */
  readonly vaultFolder: string;
  /** Whether `gen certs` also writes the root token and the root key in clear. */
  readonly keepDangerousFiles: boolean;
  readonly seal: SealConfig;
  readonly certificates: CertificateConfig;
  readonly heartbeat: HeartbeatConfig;
  /** Where the vault's store is, or is to go. */
  readonly store: StoreConfig;
}

/** Where a store is: in the vault folder, in a store that speaks etcd v3, or in a database. */
export type StoreConfig = { readonly type: "local" } | ExternalStoreConfig;

export type ExternalStoreConfig =
  | {
      readonly type: "etcd";
      /** URLs of its members; `http:` on loopback only. */
      readonly endpoints: readonly string[];
      /** Before every key. */
      readonly prefix: string;
    }
  | {
      readonly type: "sql";
      /** The URL, which may hold a password and names TLS files, or the file that it is in. */
      readonly url: Secret<string> | { readonly file: string };
    };

export interface HostPort {
  /** A host name or an IP address without brackets. */
  readonly host: string;
  readonly port: number;
}

/** PEM files, read again when they change and never written. Absolute. */
export interface HttpTlsConfig {
  /** The certificate and what leads to its root, leaf first. */
  readonly certFile: string;
  readonly keyFile: string;
}

export type SealConfig =
  | { readonly type: "shamir"; readonly shares: number; readonly threshold: number }
  | {
      readonly type: "keyfile";
      /** Absolute. */
      readonly keyFile: string;
    };

export interface CertificateConfig {
  readonly nodeTtlSeconds: number;
  readonly serverTtlSeconds: number;
  /** Takes effect when a root is made: the first one, and each that a rotation brings in. */
  readonly rootTtlSeconds: number;
  /** Who rotates the root when its time comes: operators alone, or rks as well. */
  readonly rootRotation: "manual" | "auto";
  /** Where the key of the first root is: in the vault, or where people keep it. Takes effect when a cluster is made. */
  readonly rootKey: "vault" | "offline";
}

export interface HeartbeatConfig {
  readonly intervalSeconds: number;
  /** A node that was silent for longer is NotReady. */
  readonly graceSeconds: number;
}
