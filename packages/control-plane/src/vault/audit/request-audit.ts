import type { Connection, JsonObject, Operation } from "../backend.js";
import type { MountEntry } from "../mount/mount-table.js";
import type { LiveToken } from "../token/token-store.js";
import type { HandledAnswer } from "../request.js";

/** A request as audit devices record it. Nothing in it is hashed yet: devices do that, each with its own salt. */
export interface AuditedRequest {
  /** Ties the response to the request. */
  readonly id: string;
  readonly operation: Operation;
  /** The whole path: `pki/issue/web`. */
  readonly path: string;
  readonly data: JsonObject;
  readonly mount: MountEntry | undefined;
  /** Undefined when there was no token or it was not accepted. */
  readonly token: LiveToken | undefined;
  /** As given, accepted or not; empty when there was none. */
  readonly clientToken: string;
  readonly connection: Connection;
  readonly wrapTtlSeconds: number;
}

/** How a request ended. */
export interface AuditedResponse {
  readonly answer: HandledAnswer | undefined;
  /** The error's message, when there was one. */
  readonly error: string | undefined;
}

/**
 * The record of every request to an unsealed vault, allowed or not, before anything is done and again before anything
 * is answered. With no device at all nothing is recorded and nothing refused.
 */
export interface RequestAudit {
  /**
   * @throws {RksError} AUDIT_UNWRITABLE, or BUSY under too much load, when no device could write; the request must then
   * not be handled.
   */
  request(request: AuditedRequest): Promise<void>;
  /**
   * To be called once for each request that went on, however it ended, with the same object.
   * @throws {RksError} AUDIT_UNWRITABLE, or BUSY under too much load, when no device could write; the answer must then
   * not be given.
   */
  response(request: AuditedRequest, response: AuditedResponse): Promise<void>;
}
