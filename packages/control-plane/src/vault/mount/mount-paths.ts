import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { Access, BackendPath } from "../path-table.js";
import { operation, parameter } from "../path-table.js";
import { requiredText } from "../field-types.js";
import { describeMount, describeTuning } from "./mount-description.js";
import { noMountToDescribe } from "./mount-errors.js";
import { askedMount, askedTuning, assertSameOptions, mountFields, tuneFields } from "./mount-fields.js";
import { AUTH, isAuthPath } from "./mount-path.js";
import type { MountEntry } from "./mount-table.js";
import type { Mounts } from "./mounts.js";

/** The paths `sys/mounts`, `sys/auth`, `sys/remount` and what is below them; relative to `sys/`. */
export function mountPaths(mounts: Mounts): readonly BackendPath[] {
  const secrets = { mounts, path: "mounts", prefix: "", access: "token" } as const;
  const auth = { mounts, path: "auth", prefix: AUTH, access: "sudo" } as const;
  return [listing(secrets), tune(secrets), mount(secrets), listing(auth), tune(auth), mount(auth)].concat(
    remountPaths(mounts),
  );
}

/** Mounts and where they are asked for. */
interface Place {
  readonly mounts: Mounts;
  readonly path: string;
  /** What stands before the paths in the table of mounts. */
  readonly prefix: string;
  readonly access: Access;
}

function listing({ mounts, path, prefix }: Place): BackendPath {
  const isHere = (entry: MountEntry): boolean => isAuthPath(entry.path) === (prefix === AUTH);
  return {
    pattern: path,
    operations: {
      read: operation({
        summary: "List the mounts.",
        handle: () => {
          const entries = mounts.list().filter(isHere);
          const data = entries.map((entry) => [entry.path.slice(prefix.length), describeMount(entry)]);
          return { data: Object.fromEntries(data), form: "repeated" };
        },
      }),
    },
  };
}

/** Login methods can be tuned at `sys/mounts/auth/:path/tune` as well, which is where clients do it. */
function tune({ mounts, path, prefix, access }: Place): BackendPath {
  return {
    pattern: `${path}/*path/tune`,
    operations: {
      read: operation({
        access,
        summary: "Read how a mount is tuned.",
        handle: (request) => ({
          data: describeTuning(found(mounts, prefix + parameter(request, "path"))),
          form: "repeated",
        }),
      }),
      update: operation({
        access,
        summary: "Change a mount's lifetimes, description and other settings.",
        fields: tuneFields,
        handle: async (request) => {
          const named = prefix + parameter(request, "path");
          const tuning = askedTuning(named, request.fields);
          assertSameOptions(found(mounts, named), request.fields.options);
          await mounts.tune(named, tuning);
          return undefined;
        },
      }),
    },
  };
}

function mount({ mounts, path, prefix, access }: Place): BackendPath {
  const named = (request: { readonly parameters: Readonly<Record<string, string>> }): string => {
    const own = parameter(request, "path");
    if (prefix !== AUTH && isAuthPath(`${own}/`)) throw belongsElsewhere(own);
    return prefix + own;
  };
  return {
    pattern: `${path}/*path`,
    operations: {
      read: operation({
        access,
        summary: "Describe a mount.",
        handle: (request) => ({ data: describeMount(found(mounts, named(request))), form: "repeated" }),
      }),
      update: operation({
        access,
        summary: prefix === AUTH ? "Mount a login method." : "Mount a secrets engine.",
        fields: mountFields,
        handle: async (request) => {
          const at = named(request);
          const { type, options, warnings } = askedMount(at, request.fields);
          await mounts.enable(at, type, options);
          return warnings.length === 0 ? undefined : { warnings };
        },
      }),
      delete: operation({
        access,
        summary: "Unmount, revoke everything given out and delete everything stored there.",
        handle: async (request) => {
          await mounts.disable(named(request));
          return undefined;
        },
      }),
    },
  };
}

function remountPaths(mounts: Mounts): BackendPath[] {
  return [
    {
      pattern: "remount",
      operations: {
        update: operation({
          access: "sudo",
          summary: "Move a mount to another path.",
          fields: z.object({ from: requiredText(), to: requiredText() }),
          handle: async ({ fields }) => {
            const { id } = await mounts.move(fields.from, fields.to);
            return { data: { migration_id: id }, form: "repeated" };
          },
        }),
      },
    },
    {
      pattern: "remount/status/:id",
      operations: {
        read: operation({
          summary: "Tell how moving a mount ended.",
          handle: (request) => {
            const move = mounts.moved(parameter(request, "id"));
            if (move === undefined) return undefined;
            const info = { source_mount: move.from, target_mount: move.to, status: "success" };
            return { data: { migration_id: move.id, migration_info: info }, form: "repeated" };
          },
        }),
      },
    },
  ];
}

function found(mounts: Mounts, path: string): MountEntry {
  const entry = mounts.find(path);
  if (entry === undefined) throw noMountToDescribe(`${path}/`);
  return entry;
}

function belongsElsewhere(path: string): RksError {
  return new RksError("INPUT_INVALID", `"${path.slice(0, 80)}" is a login method's path`, {
    suggestion: `Use sys/auth/${path.slice(AUTH.length, 80)}.`,
  });
}
