import type { IncomingMessage, ServerResponse } from "node:http";
import { RksError } from "@rk8s/protocol";

/** Who asks. The unix socket carries root authority: whoever may open it is an operator. */
export type Caller = "nobody" | "operator";

/** One request with what the route's pattern found in its path. */
export interface RouteRequest {
  readonly caller: Caller;
  readonly parameters: Readonly<Record<string, string>>;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborted when the client goes away or the server closes. */
  readonly signal: AbortSignal;
}

/** What is answered: a document, nothing (204), or "streamed" when the handler wrote the response itself. */
export type RouteAnswer =
  { readonly status: number; readonly body: unknown } | { readonly status: 204 } | "streamed";

export interface Route {
  readonly methods: readonly string[];
  /** Segments; one that begins with a colon is a parameter: `/v1/rk8s/nodes/:name`. */
  readonly pattern: string;
  /** The least a caller must be. */
  readonly allows: Caller;
  readonly handle: (request: RouteRequest) => Promise<RouteAnswer>;
}

/** Answer a request by the first route that fits. @throws {RksError} NOT_FOUND, UNSUPPORTED, PERMISSION_DENIED, and what the route throws. */
export async function dispatch(
  routes: readonly Route[],
  exchange: Omit<RouteRequest, "parameters">,
): Promise<RouteAnswer> {
  const path = pathOf(exchange.request);
  const method = exchange.request.method === "HEAD" ? "GET" : (exchange.request.method ?? "");
  let allowed: string[] = [];
  for (const route of routes) {
    const parameters = matchPath(route.pattern, path);
    if (parameters === undefined) continue;
    if (!route.methods.includes(method)) {
      allowed = [...allowed, ...route.methods];
      continue;
    }
    if (route.allows === "operator" && exchange.caller !== "operator") {
      throw new RksError("PERMISSION_DENIED", `${method} ${show(path)} is for operators`);
    }
    return route.handle({ ...exchange, parameters });
  }
  if (allowed.length > 0) {
    throw new RksError("UNSUPPORTED", `${show(path)} takes ${allowed.join(", ")}, not ${show(method)}`);
  }
  throw new RksError("NOT_FOUND", `there is nothing at ${show(path)}`);
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? "/").split("?", 1)[0]!;
}

function matchPath(pattern: string, path: string): Record<string, string> | undefined {
  const wanted = pattern.split("/");
  const given = path.split("/");
  if (wanted.length !== given.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [i, segment] of wanted.entries()) {
    if (segment.startsWith(":")) {
      const value = decodeSegment(given[i]!);
      if (value === undefined || value === "") return undefined;
      parameters[segment.slice(1)] = value;
    } else if (segment !== given[i]) return undefined;
  }
  return parameters;
}

function decodeSegment(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

function show(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
