import type { Write } from "@rk8s/storage";
import type { ProvenRequest } from "./cluster-request.js";

/** How the cluster's CA begins. */
export interface ClusterCaInit {
  readonly trustDomain: string;
  readonly rootTtlSeconds: number;
  /** CN of the root, for people. */
  readonly commonName: string;
  /** Milliseconds; default: the clock's now. */
  readonly now?: number;
}

/** Which roots the cluster's members trust. */
export interface TrustState {
  /** Grows with every change of the roots or of the one that signs; 0 before the first. */
  readonly generation: number;
  /** DER, the root that signs first. */
  readonly bundle: readonly Uint8Array[];
  /** SHA-256 of the SubjectPublicKeyInfo of intermediates that are tainted. */
  readonly refusedIssuers: readonly Uint8Array[];
}

/** A new root, not committed yet. */
export interface PreparedRoot {
  /** DER. */
  readonly root: Uint8Array;
  /** Certificate, key and trust domain, all under the mount's prefix. */
  readonly writes: readonly Write[];
  /** Overwrite the key among the writes; to be called once they are committed or given up. */
  readonly wipe: () => void;
}

/** What comes out of a preparation: nothing is committed before the caller commits `writes`. */
export interface PreparedCertificate {
  /** DER. */
  readonly certificate: Uint8Array;
  /** DER certificates from the leaf's issuer to the root. */
  readonly chain: readonly Uint8Array[];
  /** Lower-case hexadecimal digits. */
  readonly serialNumber: string;
  /** Milliseconds, whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** DER SubjectPublicKeyInfo of the leaf. */
  readonly spki: Uint8Array;
  /** The certificate record; commit it together with what the certificate is for. */
  readonly writes: readonly Write[];
}

/** The server's certificate with the key that was made for it. */
export interface PreparedServerCertificate extends PreparedCertificate {
  /** PKCS#8 DER of the fresh key. The caller wipes it; nothing else holds a copy. */
  readonly privateKey: Uint8Array;
}

/** What the control plane asks for itself. */
export interface ServerCertificateRequest {
  /** Advertised names besides `rks-cluster`. */
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly ttlSeconds: number;
  readonly now?: number;
}

/** Who meets whom at the external store: its members answer clients and each other, rks is their client. */
export type StorePart = "server" | "peer" | "client";

/** What the control plane asks for its external store. */
export interface StoreCertificateRequest {
  readonly part: StorePart;
  /** Host name or address of the member; undefined for the client, which is no host. */
  readonly host: string | undefined;
  readonly ttlSeconds: number;
  readonly now?: number;
}

/** What enrolment and renewal ask for a node. */
export interface NodeCertificateRequest {
  readonly csr: ProvenRequest;
  /** Decided by the token or the node record; `assertNodeName` holds. */
  readonly nodeName: string;
  readonly ttlSeconds: number;
  readonly now?: number;
}

/** What enrolment asks for an operator's command. */
export interface OperatorCertificateRequest {
  readonly csr: ProvenRequest;
  readonly tokenId: string;
  readonly ttlSeconds: number;
  readonly now?: number;
}
