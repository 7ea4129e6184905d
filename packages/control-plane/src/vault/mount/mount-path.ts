import { RksError } from "@rk8s/protocol";

/** What stands before the paths of login methods in the table of mounts. */
export const AUTH = "auth/";
const MOUNT_PATH = /^(?:[A-Za-z0-9][\w.-]*\/){1,4}$/;
const MAX_MOUNT_PATH_CHARACTERS = 128;

/**
 * The one spelling of a mount's path: no slash before, one after it.
 * @throws {RksError} INPUT_INVALID
 */
export function mountPath(path: string): string {
  const trimmed = path.replace(/^\/+|\/+$/g, "");
  const wanted = `${trimmed}/`;
  const isPossible = wanted !== AUTH && wanted.length <= MAX_MOUNT_PATH_CHARACTERS && MOUNT_PATH.test(wanted);
  if (isPossible) return wanted;
  throw new RksError("INPUT_INVALID", `mount path ${JSON.stringify(path.slice(0, 80))} is not possible`, {
    suggestion: "Use letters, digits, _ . and -, in at most four parts.",
  });
}

/** Whether this is the path of a login method. */
export function isAuthPath(path: string): boolean {
  return path.startsWith(AUTH);
}

/** Whether one of two mounts would cover the other. */
export function overlaps(a: string, b: string): boolean {
  return a.startsWith(b) || b.startsWith(a);
}

/** `overlaps`, with names that differ in upper and lower case taken for one: people would mix them up. */
export function looksLike(a: string, b: string): boolean {
  return overlaps(a.toLowerCase(), b.toLowerCase());
}
