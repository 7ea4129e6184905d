import { RksError } from "@rk8s/protocol";

import type { JsonObject, PathRequest } from "../backend.js";
import { describeInPublic, describeMount } from "../mount/mount-description.js";
import { AUTH, isAuthPath } from "../mount/mount-path.js";
import type { MountEntry } from "../mount/mount-table.js";
import type { Mounts } from "../mount/mounts.js";
import { type BackendPath, callerOf, operation, parameter } from "../path-table.js";
import type { Acl } from "../policy/acl.js";
import type { LiveToken } from "../token/token-store.js";
import { openApiDocument } from "./openapi-document.js";

export interface DescribingPorts {
  readonly mounts: Mounts;
  readonly aclOf: (token: LiveToken) => Promise<Acl>;
}

/**
 * What programs read to find their way: the mounts that the caller can reach, what it may do, and the description of
 * every path. Relative to `sys/`. Without a token only mounts are seen that are listed for everybody.
 */
export function describingPaths({ mounts, aclOf }: DescribingPorts): readonly BackendPath[] {
  const aclOfCaller = async ({ caller }: PathRequest<unknown>): Promise<Acl | undefined> =>
    caller === undefined ? undefined : aclOf(caller.token);
  return [
    {
      pattern: "internal/ui/mounts",
      operations: {
        read: operation({
          access: "optional",
          summary: "List the mounts that the caller can reach.",
          handle: async (request) => {
            const acl = await aclOfCaller(request);
            const seen = mounts.list().filter((entry) => isSeen(entry, acl));
            const describe = acl === undefined ? describeInPublic : describeMount;
            const named = (isAuth: boolean): JsonObject =>
              Object.fromEntries(
                seen
                  .filter(({ path }) => isAuthPath(path) === isAuth)
                  .map((entry) => [entry.path.slice(isAuth ? AUTH.length : 0), describe(entry)]),
              );
            return { data: { secret: named(false), auth: named(true) } };
          },
        }),
      },
    },
    {
      pattern: "internal/ui/mounts/*path",
      operations: {
        read: operation({
          access: "optional",
          summary: "Describe the mount that serves a path.",
          handle: async (request) => {
            const path = parameter(request, "path");
            const acl = await aclOfCaller(request);
            const entry = mounts.covering(path);
            if (acl === undefined || entry === undefined || !isSeen(entry, acl)) throw notSeen(path);
            return { data: { ...describeMount(entry), path: entry.path } };
          },
        }),
      },
    },
    {
      pattern: "internal/ui/resultant-acl",
      operations: {
        read: operation({
          summary: "Tell what the caller's policies allow together.",
          handle: async (request) => ({ data: (await aclOf(callerOf(request).token)).describe() }),
        }),
      },
    },
    {
      pattern: "internal/specs/openapi",
      operations: {
        read: operation({
          access: "optional",
          summary: "Describe every path of the mounts that the caller can reach, as OpenAPI 3.",
          handle: async (request) => {
            const acl = await aclOfCaller(request);
            const seen = mounts.backends().filter(({ entry }) => isSeen(entry, acl));
            return { data: openApiDocument(seen), form: "bare" };
          },
        }),
      },
    },
  ];
}

function isSeen(entry: MountEntry, acl: Acl | undefined): boolean {
  return entry.listingVisibility === "unauth" || acl?.reaches(entry.path) === true;
}

function notSeen(path: string): RksError {
  return new RksError(
    "PERMISSION_DENIED",
    `there is no mount at "${path.slice(0, 200)}" that the token reaches`,
    { suggestion: "Correct the path, or ask for a policy that allows something there." },
  );
}
