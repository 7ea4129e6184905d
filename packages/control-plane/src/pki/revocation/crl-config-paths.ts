import { type BackendPath, operation } from "../../vault/path-table.js";
import type { PkiMount } from "../pki-mount.js";
import { crlFields } from "./crl-config.js";

/** `config/crl`. */
export function crlConfigPaths({ crlConfig }: PkiMount): BackendPath[] {
  return [
    {
      pattern: "config/crl",
      operations: {
        read: operation({
          summary: "Read how revocations are published.",
          handle: () => ({ data: crlConfig.data }),
        }),
        update: operation({
          summary: "Change how revocations are published.",
          fields: crlFields,
          handle: async ({ fields }) => {
            await crlConfig.update(fields);
            return { data: crlConfig.data };
          },
        }),
      },
    },
  ];
}
