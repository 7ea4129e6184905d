import { RksError } from "@rk8s/protocol";

import { AUTH, isAuthPath } from "./mount-path.js";
import type { MountEntry } from "./mount-table.js";

/** Nothing is mounted there, where something was to be changed. */
export function noMount(path: string): RksError {
  return new RksError("NOT_FOUND", `nothing is mounted at "${path}"`, { suggestion: "List the mounts." });
}

/** The same where a mount was to be described, in the words by which Terraform's provider knows that a mount is gone. */
export function noMountToDescribe(path: string): RksError {
  const text = isAuthPath(path)
    ? `No auth engine at ${path.slice(AUTH.length)}`
    : `No secret engine mount at ${path}`;
  return new RksError("INPUT_INVALID", text, { suggestion: "List the mounts." });
}

/** The mount is the cluster's. */
export function reservedMount(path: string): RksError {
  return new RksError("PERMISSION_DENIED", `mount "${path}" is the cluster's own`, {
    suggestion: "Mount an engine at another path.",
  });
}

/** The mount is the vault's. */
export function builtInMount(path: string): RksError {
  return new RksError("INPUT_INVALID", `mount "${path}" is the vault's own`, {
    suggestion: "Mount at another path.",
  });
}

/** Another mount is there, above or below. */
export function pathInUse(path: string, inTheWay: string): RksError {
  return new RksError("ALREADY_EXISTS", `path "${path}" is already in use at "${inTheWay}"`, {
    suggestion: "Mount at another path, or disable what is there.",
  });
}

/** A login method cannot become a secrets engine. */
export function moveRefused(from: string, to: string): RksError {
  return new RksError("INPUT_INVALID", `mount "${from}" cannot be moved to "${to}"`, {
    suggestion: "Move a login method to a path below auth/, and a secrets engine to one that is not.",
  });
}

/** No backend of this type can be made. */
export function unknownType(type: string, known: readonly string[]): RksError {
  return new RksError("INPUT_INVALID", `mount type "${type.slice(0, 40)}" is not known`, {
    suggestion: `Use one of: ${known.join(", ") || "(none)"}.`,
  });
}

/** There is no room for another mount. */
export function tooManyMounts(max: number): RksError {
  return new RksError("INPUT_INVALID", `there are at most ${max} mounts`, {
    suggestion: "Disable one that is not used.",
  });
}

/** Another version of rks mounted it. */
export function engineMissing({ type, path }: MountEntry): RksError {
  return new RksError("UNSUPPORTED", `the engine "${type}" of mount "${path}" is not built in`, {
    suggestion: "Use the version of rks that mounted it.",
  });
}

/** The mount's backend is being made anew. */
export function mountBusy(path: string): RksError {
  return new RksError("UNAVAILABLE", `mount "${path}" is being tuned or moved`, {
    suggestion: "Try again in a moment.",
  });
}
