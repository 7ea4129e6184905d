import type { Clock } from "@rk8s/protocol";

import type { BackendFactory } from "../../vault/backend.js";
import { type BackendPath, operation, PathTable } from "../../vault/path-table.js";
import { approleLoginPath, renewApproleLogin } from "./approle-login.js";
import { approleRolePaths } from "./approle-role-paths.js";
import { ApproleStore } from "./approle-store.js";
import { secretIdPaths } from "./secret-id-paths.js";

/**
 * The `approle` login method: programs log in with a role id, which is not secret, and a secret id, which somebody else
 * hands to them. Paths, fields and answers are Vault's.
 */
export function approleLogin(ports: { readonly clock: Pick<Clock, "now"> }): BackendFactory {
  return async (mount, storage) => {
    const store = await ApproleStore.open(mount, storage, ports.clock);
    return {
      paths: new PathTable([
        approleLoginPath(store),
        tidyPath(store),
        ...secretIdPaths(store),
        ...approleRolePaths(store),
      ]),
      renewLogin: (renewal) => renewApproleLogin(store, renewal),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  };
}

function tidyPath(store: ApproleStore): BackendPath {
  return {
    pattern: "tidy/secret-id",
    operations: {
      update: operation({
        summary: "Delete secret ids that expired.",
        handle: async () => ({ warnings: [`${await store.tidy()} secret ids were deleted`] }),
      }),
    },
  };
}
