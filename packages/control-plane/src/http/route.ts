import type { IncomingMessage, ServerResponse } from "node:http";
import type { Authority, Capability } from "../server/authority.js";
import type { HttpAnswer } from "./http-answer.js";

/** Who asks, before any token is looked at. The unix socket carries root authority: whoever may open it is an operator. */
export type HttpCaller = "nobody" | "operator";

/** One request with what the route's pattern found in its path. */
interface RouteRequest {
  readonly parameters: Readonly<Record<string, string>>;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** On whose behalf, for the audit log and for what is asked besides. */
  readonly authority: Authority;
  /** Aborted when the client goes away or the server closes. */
  readonly signal: AbortSignal;
}

/** A path of the cluster's own API. Over HTTPS it takes a token of the vault whose policies allow it. */
export interface Route {
  /** GET stands for HEAD as well. */
  readonly method: "GET" | "POST" | "DELETE";
  /** Segments; one that begins with a colon is a parameter: `/v1/rk8s/nodes/:name`. */
  readonly pattern: string;
  /**
   * What the token's policies are asked about the path without `/v1/`. `each message`: what is sent says it; see the
   * dispatch table.
   */
  readonly asks: Capability | "each message";
  /** Gives "streamed" when it wrote the response itself. */
  readonly handle: (request: RouteRequest) => Promise<HttpAnswer | "streamed">;
}
