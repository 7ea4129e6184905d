import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyReply, FastifyRequest } from "fastify";

/** A request and where its answer goes. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The pattern that the request's path fits, for metrics. */
  readonly route: string;
}

/** Take an exchange out of Fastify's hands: from now on nobody else answers it. */
export function takeOver(request: FastifyRequest, reply: FastifyReply, route: string): Exchange {
  reply.hijack();
  return { request: request.raw, response: reply.raw, route };
}
