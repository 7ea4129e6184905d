import { type Clock, RksError } from "@rk8s/protocol";

import type { BackendFactory, MountInit } from "../../vault/backend.js";
import { PathTable } from "../../vault/path-table.js";
import { dataPaths } from "./data-paths.js";
import { metadataPaths } from "./metadata-paths.js";
import { plainSecretPaths } from "./plain-secrets.js";
import { subkeyPaths } from "./subkey-paths.js";
import { versionPaths } from "./version-paths.js";
import { VersionedStore } from "./versioned-store.js";

/**
 * The `kv` secrets engine: keeps what it is given. Version 1 keeps the newest value of a path, version 2 also older ones;
 * the mount's option `version` says which, 1 where it says nothing. Paths, fields and answers are Vault's.
 */
export function kvBackend(ports: { readonly clock: Pick<Clock, "now"> }): BackendFactory {
  return (mount, storage) => {
    const isVersioned = kvVersion(mount) === "2";
    const store = new VersionedStore(mount, storage, ports);
    const paths = isVersioned
      ? [...dataPaths(store), ...versionPaths(store), ...metadataPaths(store), ...subkeyPaths(store)]
      : plainSecretPaths(mount, storage);
    return Promise.resolve({
      paths: new PathTable(paths),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  };
}

/** @throws {RksError} INPUT_INVALID */
function kvVersion(mount: MountInit): "1" | "2" {
  const version = mount.options["version"] ?? "1";
  if (version === "1" || version === "2") return version;
  throw new RksError("INPUT_INVALID", `option version ${JSON.stringify(version.slice(0, 40))} is not known`, {
    suggestion: "Use version 1 or 2.",
  });
}
