import { RksError } from "@rk8s/protocol";

import type { Operation } from "./backend.js";

/** No path that is asked for is longer. */
export const MAX_PATH_CHARACTERS = 512;
/** Names below these are the same in upper and lower case. */
const CASELESS = ["sys/policies/acl/", "sys/policy/"];

/** A request's path, brought into its one spelling. */
export interface CanonicalPath {
  /** Without a slash at either end: what is looked up. */
  readonly path: string;
  /** With the trailing slash if the request had one: what the policies judge, and what is recorded. */
  readonly asked: string;
}

/**
 * Bring a request's path into its one spelling: two spellings of one thing would let a request around a `deny`. Whether
 * it had a trailing slash changes what policies say of it (see `Acl.decide`) and never what it leads to.
 * @throws {RksError} INPUT_INVALID for empty segments, `.`, `..`, control characters and very long paths.
 */
export function canonicalPath(operation: Operation, path: string): CanonicalPath {
  const trimmed = path.replace(/^\//, "").replace(/\/$/, "");
  const isPossible =
    trimmed.length <= MAX_PATH_CHARACTERS &&
    // oxlint-disable-next-line no-control-regex -- they are what is looked for
    !/[\u0000-\u001f\u007f]/.test(trimmed) &&
    trimmed.split("/").every((segment) => segment !== "" && segment !== "." && segment !== "..");
  if (!isPossible) {
    throw new RksError("INPUT_INVALID", `cannot ${operation} the path ${JSON.stringify(path.slice(0, 80))}`, {
      suggestion: `Write a path like "pki/roles/web", with at most ${MAX_PATH_CHARACTERS} characters.`,
    });
  }
  const canonical = canonicalCase(trimmed);
  return { path: canonical, asked: path.endsWith("/") ? `${canonical}/` : canonical };
}

/** A path with the names that have no case in lower case. */
export function canonicalCase(path: string): string {
  return CASELESS.some((prefix) => path.startsWith(prefix)) ? path.toLowerCase() : path;
}

/**
 * A policy's pattern in the spellings in which `canonicalPath` may ask for it: where names are caseless, the lower case
 * one as well. A rule against `sys/policies/acl/Admin` would else protect nothing.
 */
export function canonicalPatterns(pattern: string): readonly string[] {
  const lower = pattern.toLowerCase();
  if (lower === pattern) return [pattern];
  const parts = pattern.split("/");
  const mayBeCaseless = CASELESS.map((prefix) => prefix.split("/").slice(0, -1)).some((fixed) =>
    fixed.every((part, index) => parts[index] === part || parts[index] === "+"),
  );
  return mayBeCaseless ? [pattern, lower] : [pattern];
}
