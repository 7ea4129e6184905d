import { RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";

import type { MountInit } from "../../vault/backend.js";
import { type BackendPath, operation, parameter, type PathOperation } from "../../vault/path-table.js";
import { folderFields, listFolder, scanFolder } from "./secret-folder.js";
import { decodeSecret, encodeSecret } from "./secret-value.js";

/** The paths of version 1: what was written last to a path is what is there. */
export function plainSecretPaths(mount: MountInit, storage: Storage): readonly BackendPath[] {
  const prefix = `${mount.storagePrefix}plain/`;
  return [
    {
      pattern: "*path",
      exists: async ({ path = "" }) => path !== "" && (await storage.get(prefix + path)) !== undefined,
      operations: {
        read: operation({
          summary: "Read a secret.",
          handle: async (request) => {
            const path = parameter(request, "path");
            const entry = path === "" ? undefined : await storage.get(prefix + path);
            return entry === undefined ? undefined : { data: decodeSecret(path, entry.value) };
          },
        }),
        update: writing(prefix, storage),
        delete: operation({
          summary: "Delete a secret.",
          handle: async (request) => {
            const path = parameter(request, "path");
            if (path === "") throw noPath();
            await storage.transaction([], [{ type: "delete", key: prefix + path }]);
            return undefined;
          },
        }),
        list: operation({
          summary: "List the secrets and folders in a folder.",
          fields: folderFields,
          handle: (request) => listFolder(storage, prefix, parameter(request, "path"), request.fields),
        }),
        scan: operation({
          summary: "List everything below a folder.",
          fields: folderFields,
          handle: (request) => scanFolder(storage, prefix, parameter(request, "path"), request.fields),
        }),
      },
    },
  ];
}

/** Its fields are the secret, whatever they are. */
function writing(prefix: string, storage: Storage): PathOperation {
  return {
    access: "token",
    summary: "Write a secret.",
    fields: undefined,
    handle: async (request) => {
      const path = parameter(request, "path");
      if (path === "") throw noPath();
      if (Object.keys(request.data).length === 0) {
        throw new RksError("INPUT_INVALID", `missing data fields for "${path.slice(0, 120)}"`, {
          suggestion: "Give at least one field.",
        });
      }
      const value = encodeSecret(path, request.data);
      await storage.transaction([], [{ type: "put", key: prefix + path, value }]);
      return undefined;
    },
  };
}

function noPath(): RksError {
  return new RksError("INPUT_INVALID", "a secret needs a path below the mount", {
    suggestion: "Name one, for example secret/app/database.",
  });
}
