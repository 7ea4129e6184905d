import type { BackendFactory } from "../vault/backend.js";
import { PathTable } from "../vault/path-table.js";
import { intermediatePaths } from "./authority/intermediate-paths.js";
import { rootPaths } from "./authority/root-paths.js";
import { signingPaths } from "./authority/signing-paths.js";
import { certificateListPaths } from "./certificate/certificate-list-paths.js";
import { certificatePaths } from "./certificate/certificate-paths.js";
import { caPaths } from "./issuer/ca-paths.js";
import { configPaths } from "./issuer/config-paths.js";
import { importPaths } from "./issuer/import-paths.js";
import { issuerPaths } from "./issuer/issuer-paths.js";
import { keyPaths } from "./issuer/key-paths.js";
import { issuePaths } from "./issuance/issue-paths.js";
import { KeyMaker } from "./key-maker.js";
import { heardByMount, openPkiMount, type PkiPorts } from "./pki-mount.js";
import { crlConfigPaths } from "./revocation/crl-config-paths.js";
import { crlPaths } from "./revocation/crl-paths.js";
import { mountOcspSource } from "./revocation/mount-ocsp.js";
import { ocspPaths } from "./revocation/ocsp-paths.js";
import { OcspResponder } from "./revocation/ocsp-responder.js";
import { revokePaths } from "./revocation/revoke-paths.js";
import { revokeLeased } from "./revocation/revoke.js";
import { tidyPaths } from "./revocation/tidy-paths.js";
import { rolePaths } from "./role/role-paths.js";

/** The `pki` secrets engine: makes the backend of a mount. Paths, fields and answers are Vault's. */
export function pkiBackend(ports: Pick<PkiPorts, "clock" | "createSerialNumber">): BackendFactory {
  const keyMaker = new KeyMaker();
  return async (mount, storage, stewardship) => {
    const pki = await openPkiMount(mount, storage, { ...ports, keyMaker, stewardship });
    return {
      paths: new PathTable([
        ...caPaths(pki),
        ...rootPaths(pki),
        ...intermediatePaths(pki),
        ...signingPaths(pki),
        ...importPaths(pki),
        ...issuerPaths(pki),
        ...keyPaths(pki),
        ...configPaths(pki),
        ...rolePaths(pki),
        ...issuePaths(pki),
        ...crlPaths(pki),
        ...crlConfigPaths(pki),
        ...revokePaths(pki),
        ...ocspPaths(new OcspResponder(mountOcspSource(pki))),
        ...tidyPaths(pki),
        ...certificatePaths(pki),
        ...certificateListPaths(pki),
      ]),
      heard: (name) => heardByMount(pki, name),
      revokeLease: (internal) => revokeLeased(pki, internal),
      [Symbol.asyncDispose]: async () => {
        await pki.tidy[Symbol.asyncDispose]();
        pki.crls.close();
        await pki.revocations.close();
        pki.issuers.close();
      },
    };
  };
}
