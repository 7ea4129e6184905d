import { RksError } from "@rk8s/protocol";

import type { JsonObject } from "../backend.js";
import { durationField, requiredText, textField } from "../fields.js";
import { effectiveTtls } from "./mounts.js";
import type { MountOptions, Mounts } from "./mounts.js";
import type { MountEntry } from "./mount-table.js";
import type { Route } from "../route.js";

const TUNE = "/tune";

/** The paths under `sys/mounts`. */
export function mountRoutes(mounts: Mounts): readonly Route[] {
  const route = (path: string, operation: Route["operation"], handle: Route["handle"]): Route => ({
    path,
    operation,
    access: "token",
    handle,
  });
  return [
    route("sys/mounts", "read", () => ({
      data: Object.fromEntries(mounts.list().map((entry) => [entry.path, describeMount(entry)])),
    })),
    route("sys/mounts/*", "read", ({ rest }) => {
      const isTune = rest.endsWith(TUNE);
      const entry = found(mounts.find(isTune ? rest.slice(0, -TUNE.length) : rest), rest);
      return { data: isTune ? describeTuning(entry) : describeMount(entry) };
    }),
    route("sys/mounts/*", "update", async ({ rest, data }) => {
      if (rest.endsWith(TUNE)) await mounts.tune(rest.slice(0, -TUNE.length), mountOptions(data, data));
      else await mounts.enable(rest, requiredText(data, "type"), mountOptions(data, configOf(data)));
      return undefined;
    }),
    route("sys/mounts/*", "delete", async ({ rest }) => {
      await mounts.disable(rest);
      return undefined;
    }),
  ];
}

function mountOptions(data: JsonObject, config: JsonObject): MountOptions {
  return {
    description: textField(data, "description"),
    defaultTtlSeconds: durationField(config, "default_lease_ttl"),
    maxTtlSeconds: durationField(config, "max_lease_ttl"),
  };
}

function configOf(data: JsonObject): JsonObject {
  const config = data["config"] ?? {};
  if (typeof config === "object" && !Array.isArray(config)) return config as JsonObject;
  throw new RksError(
    "INPUT_INVALID",
    `field "config" is ${JSON.stringify(config)?.slice(0, 40)}, expected an object`,
    {
      suggestion: `Give "config" as an object.`,
    },
  );
}

function describeMount(entry: MountEntry): JsonObject {
  return {
    type: entry.type,
    description: entry.description,
    accessor: entry.accessor,
    uuid: entry.uuid,
    local: false,
    seal_wrap: false,
    external_entropy_access: false,
    options: null,
    config: {
      default_lease_ttl: entry.defaultTtlSeconds,
      max_lease_ttl: entry.maxTtlSeconds,
      force_no_cache: false,
    },
  };
}

function describeTuning(entry: MountEntry): JsonObject {
  const ttls = effectiveTtls(entry);
  return {
    description: entry.description,
    default_lease_ttl: ttls.default,
    max_lease_ttl: ttls.max,
    force_no_cache: false,
  };
}

function found(entry: MountEntry | undefined, path: string): MountEntry {
  if (entry !== undefined) return entry;
  throw new RksError("NOT_FOUND", `nothing is mounted at "${path}"`, { suggestion: "List the mounts." });
}
