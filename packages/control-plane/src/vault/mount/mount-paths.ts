import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { JsonObject } from "../backend.js";
import { duration, object, requiredText, text, texts } from "../field-types.js";
import { type BackendPath, operation, parameter } from "../path-table.js";
import type { MountEntry } from "./mount-table.js";
import { effectiveTtls } from "./mounts.js";
import type { MountOptions, Mounts } from "./mounts.js";

const AUTH = "auth/";
const config = z.object({ description: text(), default_lease_ttl: duration(), max_lease_ttl: duration() });

/** The paths `sys/mounts`, `sys/auth` and what is below them; relative to `sys/`. */
export function mountPaths(mounts: Mounts): readonly BackendPath[] {
  return [...pathsUnder(mounts, "mounts", ""), ...pathsUnder(mounts, "auth", AUTH)];
}

/** `prefix` is what stands before the paths in the table of mounts. */
function pathsUnder(mounts: Mounts, path: string, prefix: "" | "auth/"): readonly BackendPath[] {
  const isHere = (entry: MountEntry): boolean => entry.path.startsWith(AUTH) === (prefix === AUTH);
  const named = (request: { parameters: Readonly<Record<string, string>> }): string =>
    prefix + parameter(request, "path");
  return [
    {
      pattern: path,
      operations: {
        read: operation({
          summary: "List the mounts.",
          handle: () => ({
            data: Object.fromEntries(
              mounts
                .list()
                .filter(isHere)
                .map((entry) => [entry.path.slice(prefix.length), describeMount(entry)]),
            ),
            form: "repeated",
          }),
        }),
      },
    },
    {
      pattern: `${path}/*path/tune`,
      operations: {
        read: operation({
          summary: "Read how a mount is tuned.",
          handle: (request) => ({
            data: describeTuning(found(mounts.find(named(request)), named(request))),
            form: "repeated",
          }),
        }),
        update: operation({
          summary: "Change a mount's lifetimes or description.",
          fields: config,
          handle: async (request) => {
            const { description, default_lease_ttl, max_lease_ttl } = request.fields;
            await mounts.tune(named(request), {
              description,
              defaultTtlSeconds: default_lease_ttl,
              maxTtlSeconds: max_lease_ttl,
            });
            return undefined;
          },
        }),
      },
    },
    {
      pattern: `${path}/*path`,
      operations: {
        read: operation({
          summary: "Describe a mount.",
          handle: (request) => ({
            data: describeMount(found(mounts.find(named(request)), named(request))),
            form: "repeated",
          }),
        }),
        update: operation({
          summary: "Mount an engine or a login method.",
          fields: z.object({ type: requiredText(), description: text(), config: object(), options: texts() }),
          handle: async (request) => {
            const { type, description, config: tuned = {}, options } = request.fields;
            await mounts.enable(named(request), type, { ...optionsOf(tuned), description, options });
            return undefined;
          },
        }),
        delete: operation({
          summary: "Unmount, and delete everything stored there.",
          handle: async (request) => {
            await mounts.disable(named(request));
            return undefined;
          },
        }),
      },
    },
  ];
}

function optionsOf(data: JsonObject): MountOptions {
  const parsed = config.safeParse(data);
  if (parsed.success) {
    const { default_lease_ttl, max_lease_ttl } = parsed.data;
    return { defaultTtlSeconds: default_lease_ttl, maxTtlSeconds: max_lease_ttl };
  }
  const [issue] = parsed.error.issues;
  throw new RksError("INPUT_INVALID", `field "${issue?.path.join(".")}": ${issue?.message}`, {
    suggestion: "Give lifetimes like 3600 or 1h.",
  });
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
    options: Object.keys(entry.options).length === 0 ? null : entry.options,
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
