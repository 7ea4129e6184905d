import { RksError } from "@rk8s/protocol";
import type { Answer } from "../vault/backend.js";
import { type BackendPath, operation, parameter } from "../vault/path-table.js";
import { CLUSTER_PUBLIC_PATHS, readClusterPublic } from "./cluster-reads.js";
import { CLUSTER_ROLE_NAMES, CLUSTER_ROLES } from "./cluster-roles.js";
import type { ClusterRoots } from "./cluster-roots.js";
import { clusterStatusPaths, type ClusterStatusParts } from "./cluster-status-paths.js";

const ROLES_PATH = "roles";

interface ClusterPathsParts extends ClusterStatusParts {
  readonly mountPath: string;
  /** Undefined before there is a root. */
  readonly roots: () => ClusterRoots | undefined;
}

/** What everyone may read of the cluster's CA, the roles, and a refusal for all else, whoever asks. */
export function clusterPaths(parts: ClusterPathsParts): readonly BackendPath[] {
  const refusal = operation({
    summary: "Refused: the cluster's CA is closed.",
    handle: ({ operation: asked, path }) => {
      throw new RksError(
        "PERMISSION_DENIED",
        `"${asked}" of "${parts.mountPath}${path}" is refused to everyone: the cluster's CA is closed`,
        {
          suggestion: "Mount a PKI engine of your own with `rks secrets enable pki` for other certificates.",
        },
      );
    },
  });
  const refused = { update: refusal, patch: refusal, delete: refusal };
  const read = operation({
    access: "anyone",
    summary: "Read a certificate.",
    handle: ({ path }) => readClusterPublic(path, { ...parts, roots: parts.roots() }),
  });
  return [
    ...clusterStatusPaths(parts).map(({ pattern, operations }) => ({
      pattern,
      operations: { ...refused, ...operations },
    })),
    ...CLUSTER_PUBLIC_PATHS.map((pattern) => ({ pattern, operations: { read, ...refused } })),
    {
      pattern: ROLES_PATH,
      operations: {
        list: operation({
          summary: "List the roles.",
          handle: () => ({ data: { keys: [...CLUSTER_ROLE_NAMES] } }),
        }),
        ...refused,
      },
    },
    {
      pattern: `${ROLES_PATH}/:name`,
      operations: {
        read: operation({
          summary: "Read a role.",
          handle: (request) => readRole(parameter(request, "name")),
        }),
        ...refused,
      },
    },
    {
      pattern: "*path",
      operations: { read: operation({ summary: "Nothing is here.", handle: () => undefined }), ...refused },
    },
  ];
}

function readRole(name: string): Answer | undefined {
  const known = CLUSTER_ROLE_NAMES.find((role) => role === name);
  if (known === undefined) return undefined;
  const role = CLUSTER_ROLES[known];
  return {
    data: {
      names: role.names,
      key_usage: role.keyUsage,
      ext_key_usage_oids: role.extendedKeyUsage,
      max_ttl: role.maxTtlSeconds,
      not_before_duration: role.backdateSeconds,
    },
  };
}
