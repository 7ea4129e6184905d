import type { IncomingMessage, ServerResponse } from "node:http";
import type { HttpAnswer } from "./http-answer.js";

/** Who asks, before any token is looked at. The unix socket carries root authority: whoever may open it is an operator. */
export type HttpCaller = "nobody" | "operator";

/** One request with what the route's pattern found in its path. */
export interface RouteRequest {
  readonly parameters: Readonly<Record<string, string>>;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborted when the client goes away or the server closes. */
  readonly signal: AbortSignal;
}

/** A path of the cluster's own API. */
export interface Route {
  /** GET stands for HEAD as well. */
  readonly methods: readonly ("GET" | "POST" | "DELETE")[];
  /** Segments; one that begins with a colon is a parameter: `/v1/rk8s/nodes/:name`. */
  readonly pattern: string;
  /** The least a caller must be. */
  readonly allows: HttpCaller;
  /** Gives "streamed" when it wrote the response itself. */
  readonly handle: (request: RouteRequest) => Promise<HttpAnswer | "streamed">;
}
