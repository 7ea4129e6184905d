import { CLUSTER_CA_MOUNT } from "../pki/cluster-ca.js";
import { CLUSTER_ROLE_NAMES } from "../pki/cluster-roles.js";

const CLUSTER_API = 'path "rk8s/*" { capabilities = ["read", "list", "update", "delete"] }';

/**
 * A policy for each role of the cluster's CA: whoever holds it may look at the CA and at its own role. Nothing more
 * can be granted there: issuing goes through joining, whatever a token allows. Operators may all that the cluster's own
 * API and messages can be asked.
 */
export const CLUSTER_POLICIES: Readonly<Record<string, string>> = Object.fromEntries(
  CLUSTER_ROLE_NAMES.map((role) => [role, policyFor(role)]),
);

function policyFor(role: string): string {
  const own = [`path "${CLUSTER_CA_MOUNT}roles/${role}" { capabilities = ["read"] }`];
  const all = [
    `path "${CLUSTER_CA_MOUNT}roles" { capabilities = ["list"] }`,
    `path "${CLUSTER_CA_MOUNT}roles/*" { capabilities = ["read", "list"] }`,
  ];
  return [
    `path "${CLUSTER_CA_MOUNT}ca*" { capabilities = ["read"] }`,
    `path "${CLUSTER_CA_MOUNT}cert/*" { capabilities = ["read"] }`,
    ...(role === "operator" ? [...all, CLUSTER_API] : own),
    "",
  ].join("\n");
}
