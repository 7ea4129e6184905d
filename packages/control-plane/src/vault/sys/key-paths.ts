import { z } from "zod";

import { count, duration, flag } from "../field-types.js";
import { type BackendPath, operation } from "../path-table.js";
import type { SealPathPorts } from "./seal-paths.js";

/** The paths about the keys that encrypt, relative to `sys/`; `rotate` and `rotate/keyring` are the same. */
export function keyPaths({ operate }: Pick<SealPathPorts, "operate">): readonly BackendPath[] {
  const rotate = operation({
    access: "sudo",
    summary: "Encrypt with a new key from now on; what older ones encrypted stays readable.",
    handle: async () => {
      await operate((open) => open.rotate());
      return undefined;
    },
  });
  const readConfig = operation({
    summary: "Tell when the key that encrypts is replaced by itself.",
    handle: async () => {
      const { enabled, maxOperations, intervalSeconds } = await operate((open) =>
        Promise.resolve(open.rotation),
      );
      return {
        data: { enabled, max_operations: maxOperations, interval: intervalSeconds },
        form: "repeated",
      };
    },
  });
  const writeConfig = operation({
    access: "sudo",
    summary: "Change when the key that encrypts is replaced by itself.",
    fields: z.object({ enabled: flag(), max_operations: count(), interval: duration() }),
    handle: async ({ fields }) => {
      await operate((open) =>
        open.configureRotation({
          enabled: fields.enabled ?? open.rotation.enabled,
          maxOperations: fields.max_operations ?? open.rotation.maxOperations,
          intervalSeconds: fields.interval ?? open.rotation.intervalSeconds,
        }),
      );
      return undefined;
    },
  });
  return [
    {
      pattern: "key-status",
      operations: {
        read: operation({
          summary: "Tell which key encrypts, since when, and how many values it has.",
          handle: async () => {
            const { term, sinceMs, encryptions } = await operate((open) => Promise.resolve(open.keyUse));
            const installTime = new Date(sinceMs).toISOString();
            return { data: { term, install_time: installTime, encryptions }, form: "repeated" };
          },
        }),
      },
    },
    { pattern: "rotate", operations: { update: rotate } },
    { pattern: "rotate/keyring", operations: { update: rotate } },
    { pattern: "rotate/config", operations: { read: readConfig, update: writeConfig } },
    { pattern: "rotate/keyring/config", operations: { read: readConfig, update: writeConfig } },
  ];
}
