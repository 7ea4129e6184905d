import { RksError } from "@rk8s/protocol";
import type { Answer, JsonObject } from "../../vault/backend.js";
import { type BackendPath, operation } from "../../vault/path-table.js";
import type { PkiMount } from "../pki-mount.js";
import {
  autoTidyFields,
  autoTidySettings,
  hasTargets,
  tidyData,
  tidyFields,
  type TidySettings,
  tidySettings,
  warningsAboutTidy,
} from "./tidy-settings.js";

/** `tidy`, `tidy-cancel`, `tidy-status` and `config/auto-tidy`. */
export function tidyPaths({ tidy }: PkiMount): BackendPath[] {
  const config = (): JsonObject => {
    const { enabled, interval_duration, ...rest } = tidy.config;
    return { enabled, interval_duration, ...tidyData(rest) };
  };
  return [
    {
      pattern: "tidy",
      operations: {
        update: operation({
          summary: "Forget what ended long enough ago; runs beside everything else.",
          fields: tidyFields,
          handle: ({ fields }) => start(tidy, tidySettings(fields)),
        }),
      },
    },
    {
      pattern: "tidy-cancel",
      operations: {
        update: operation({
          summary: "Stop the tidy that is running.",
          handle: () => {
            if (tidy.cancel()) return { data: tidy.status };
            throw new RksError("INPUT_INVALID", "no tidy is running that could be cancelled", {
              suggestion: "Read tidy-status to see what the last one did.",
            });
          },
        }),
      },
    },
    {
      pattern: "tidy-status",
      operations: {
        read: operation({
          summary: "Read what the tidy that runs, or the last one, did.",
          handle: () => ({ data: tidy.status }),
        }),
      },
    },
    {
      pattern: "config/auto-tidy",
      operations: {
        read: operation({
          summary: "Read when tidies run by themselves.",
          handle: () => ({ data: config() }),
        }),
        update: operation({
          summary: "Change when tidies run by themselves.",
          fields: autoTidyFields,
          handle: async ({ fields }) => {
            const settings = autoTidySettings(fields, tidy.config);
            await tidy.configure(settings);
            return { data: config(), warnings: warningsAboutTidy(settings) };
          },
        }),
      },
    },
  ];
}

async function start(tidy: PkiMount["tidy"], settings: TidySettings): Promise<Answer> {
  const warnings = warningsAboutTidy(settings);
  if (!hasTargets(settings)) {
    warnings.push("nothing to tidy was asked for: give tidy_cert_store=true or tidy_revoked_certs=true");
    return { warnings };
  }
  const isStarted = await tidy.start(settings);
  warnings.push(
    isStarted ? "the tidy has started: tidy-status tells how it goes" : "a tidy is running already",
  );
  return { warnings };
}
