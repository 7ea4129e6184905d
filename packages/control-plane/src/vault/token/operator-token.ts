import { ROOT_POLICY, UNLIMITED_USES } from "./token-entry.js";
import type { LiveToken } from "./token-store.js";

/**
 * Stands for whoever uses the operators' socket without a token: every right, for the one request. It is nowhere
 * stored, nobody can hold it, and what it makes has no parent.
 */
export const OPERATOR_TOKEN: LiveToken = {
  hash: "",
  entry: {
    version: 1,
    type: "service",
    accessor: "",
    policies: [ROOT_POLICY],
    depth: 0,
    displayName: "operator (socket)",
    meta: {},
    path: "",
    createdAtMs: 0,
    ttlSeconds: 0,
    explicitMaxTtlSeconds: 0,
    periodSeconds: 0,
    renewable: false,
    usesLeft: UNLIMITED_USES,
    boundCidrs: [],
    entityId: "",
  },
};
