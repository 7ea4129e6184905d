import { RksError } from "@rk8s/protocol";

import type { JsonObject, Operation } from "./backend.js";
import type { LiveToken } from "./token/token-store.js";
import type { Answer } from "./request.js";

/**
 * Who may call a path: `anyone` without a token; `token`: whoever's policies allow it; `sudo`: whoever's policies
 * allow it and grant `sudo` on it.
 */
type Access = "anyone" | "token" | "sudo";

/** What a handler knows of the request it answers. */
export interface RouteRequest {
  readonly operation: Operation;
  /** What stands in the place of `*`; empty for an exact path. */
  readonly rest: string;
  readonly data: JsonObject;
  /** The vault's wall clock. */
  readonly nowMs: number;
  /** Undefined for `anyone`. */
  readonly caller: Caller | undefined;
}

/** Whoever's token was accepted. */
export interface Caller {
  readonly token: LiveToken;
  /** As it was given. */
  readonly secret: string;
  /** Whether the policies grant `sudo` on the requested path. */
  readonly hasSudo: boolean;
}

/** One line of the table of the vault's own paths. */
export interface Route {
  /** Exact, or ending in `/*` for one or more further segments. */
  readonly path: string;
  readonly operation: "read" | "update" | "delete" | "list";
  readonly access: Access;
  readonly handle: (request: RouteRequest) => Promise<Answer | undefined> | Answer | undefined;
}

/** Find the line for a request; the operation `create` is an `update` here. */
export function findRoute(routes: readonly Route[], operation: Operation, path: string): Route | undefined {
  const wanted = operation === "create" ? "update" : operation;
  return routes.find((route) => route.operation === wanted && restOf(route, path) !== undefined);
}

/** Whether the path is known with another operation. */
export function isKnownPath(routes: readonly Route[], path: string): boolean {
  return routes.some((route) => restOf(route, path) !== undefined);
}

/** What stands in the place of the `*`; undefined when the path does not match. */
export function restOf(route: Route, path: string): string | undefined {
  const file = path.endsWith("/") ? path.slice(0, -1) : path;
  if (!route.path.endsWith("/*")) return file === route.path ? "" : undefined;
  const prefix = route.path.slice(0, -1);
  return file.startsWith(prefix) && file.length > prefix.length ? file.slice(prefix.length) : undefined;
}

/** The caller of a path that is not for anyone. */
export function callerOf(request: RouteRequest): Caller {
  if (request.caller === undefined) throw RksError.from(new Error("a route needs a caller and has none"));
  return request.caller;
}
