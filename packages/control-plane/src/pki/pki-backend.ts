import type { Clock } from "@rk8s/protocol";
import type { BackendFactory } from "../vault/backend.js";
import { PathTable } from "../vault/path-table.js";
import { rootPaths } from "./authority/root-paths.js";
import { certificatePaths } from "./certificate/certificate-paths.js";
import { caPaths } from "./issuer/ca-paths.js";
import { issuePaths } from "./issuance/issue-paths.js";
import { KeyMaker } from "./key-maker.js";
import { openPkiMount } from "./pki-mount.js";
import { rolePaths } from "./role/role-paths.js";

/** The `pki` secrets engine: makes the backend of a mount. Paths, fields and answers are Vault's. */
export function pkiBackend(ports: { readonly clock: Clock }): BackendFactory {
  const { clock } = ports;
  const keyMaker = new KeyMaker();
  return async (mount, storage) => {
    const pki = await openPkiMount(mount, storage, { clock, keyMaker });
    return {
      paths: new PathTable([
        ...caPaths(pki),
        ...rootPaths(pki),
        ...rolePaths(pki),
        ...issuePaths(pki),
        ...certificatePaths(pki),
      ]),
      [Symbol.asyncDispose]: () => {
        pki.issuers.close();
        return Promise.resolve();
      },
    };
  };
}
