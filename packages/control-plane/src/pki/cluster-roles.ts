import { type KeyUsage, OID } from "@rk8s/x509";
import { MAX_NODE_TTL_SECONDS, MAX_SERVER_TTL_SECONDS } from "./cluster-lifetimes.js";

/** The roles of the cluster's own CA; there are no others (architecture.md, law 4). */
export const CLUSTER_ROLE_NAMES = ["rks-node", "rkl-node", "xline-node", "operator"] as const;
export type ClusterRoleName = (typeof CLUSTER_ROLE_NAMES)[number];

export interface ClusterRole {
  /** Object identifiers. Exactly one for those who meet in a join, so that neither side can pass for the other. */
  readonly extendedKeyUsage: readonly string[];
  readonly keyUsage: readonly KeyUsage[];
  readonly maxTtlSeconds: number;
  /** How far notBefore lies in the past, for clocks that are behind. */
  readonly backdateSeconds: number;
  /** What the role's certificates are named, for people. */
  readonly names: string;
}

const KEY_USAGE: readonly KeyUsage[] = ["digitalSignature"];

export const CLUSTER_ROLES: Readonly<Record<ClusterRoleName, ClusterRole>> = {
  "rks-node": {
    extendedKeyUsage: [OID.serverAuth],
    keyUsage: KEY_USAGE,
    maxTtlSeconds: MAX_SERVER_TTL_SECONDS,
    backdateSeconds: 3600,
    names: "CN and DNS rks-cluster, and the advertised names and addresses",
  },
  "rkl-node": {
    extendedKeyUsage: [OID.clientAuth],
    keyUsage: KEY_USAGE,
    maxTtlSeconds: MAX_NODE_TTL_SECONDS,
    backdateSeconds: 60,
    names: "CN <node> and URI spiffe://<trust domain>/node/<node>",
  },
  "xline-node": {
    extendedKeyUsage: [OID.serverAuth, OID.clientAuth],
    keyUsage: KEY_USAGE,
    maxTtlSeconds: MAX_SERVER_TTL_SECONDS,
    backdateSeconds: 3600,
    names: "the host names of the store's own members; CN and DNS rks-store for rks as their client",
  },
  operator: {
    extendedKeyUsage: [OID.clientAuth],
    keyUsage: KEY_USAGE,
    maxTtlSeconds: 600,
    backdateSeconds: 60,
    names: "CN <token id> and URI spiffe://<trust domain>/operator/<token id>",
  },
};
