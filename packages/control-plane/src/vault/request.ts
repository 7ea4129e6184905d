import type { Secret } from "@rk8s/protocol";

import type { Answer, Connection, JsonObject, Operation, RawAnswer } from "./backend.js";

/** A request to the vault, whoever brings it: a program, the HTTP API or the command line. */
export interface VaultRequest {
  /** `create` and `update` both stand for writing; which one a policy must allow, the path decides. */
  readonly operation: Operation;
  /** Without a leading slash or `v1/`: `pki/issue/web`. */
  readonly path: string;
  /** Fields of the body, or of the query for reads and lists. */
  readonly data?: JsonObject | undefined;
  readonly clientToken?: string | Secret<string> | undefined;
  /**
   * `root`: without a token the request has every right, as from the operators' socket. Never set it for a request that
   * came over a network.
   */
  readonly authority?: "root" | undefined;
  /** Seconds; more than 0: keep the answer, and answer with a token that can fetch it once. */
  readonly wrapTtlSeconds?: number | undefined;
  readonly connection?: Connection | undefined;
}

/** A request whose path is in its one spelling, without a trailing slash. */
export interface CanonicalRequest extends VaultRequest {
  /** The path with the trailing slash that it may have had: judged by the policies, and recorded. */
  readonly askedPath: string;
}

/** What a new or renewed token is to its holder. */
export interface VaultAuth {
  readonly client_token: string;
  readonly accessor: string;
  readonly policies: readonly string[];
  readonly token_policies: readonly string[];
  readonly metadata: Readonly<Record<string, string>> | null;
  /** Seconds; 0: the token never expires. */
  readonly lease_duration: number;
  readonly renewable: boolean;
  readonly entity_id: string;
  readonly token_type: "service" | "batch";
  readonly orphan: boolean;
  readonly mfa_requirement: null;
  readonly num_uses: number;
}

/** The token under which a wrapped answer is kept. */
export interface VaultWrapInfo {
  readonly token: string;
  readonly accessor: string;
  /** Seconds. */
  readonly ttl: number;
  /** RFC 3339. */
  readonly creation_time: string;
  readonly creation_path: string;
  readonly wrapped_accessor?: string;
}

/** An answer in the form that Vault's clients know; every member is always there. */
export interface VaultResponse {
  readonly request_id: string;
  readonly lease_id: string;
  readonly renewable: boolean;
  readonly lease_duration: number;
  readonly data: JsonObject | null;
  readonly wrap_info: VaultWrapInfo | null;
  readonly warnings: readonly string[] | null;
  readonly auth: VaultAuth | null;
}

/** What the vault made of a handler's answer, before it gets its envelope. */
export type HandledAnswer = Omit<Answer, "login" | "lease">;

/** An answer with what HTTP needs besides the envelope. */
export interface VaultAnswer {
  readonly response: VaultResponse;
  readonly form: "envelope" | "repeated" | "bare";
  readonly status: number;
  readonly raw: RawAnswer | undefined;
}

/** Put an answer into Vault's envelope. The id is that of the request in the audit log. */
export function toVaultAnswer(answer: HandledAnswer, requestId: string): VaultAnswer {
  const { warnings = [], leased, raw, form = "envelope", status = 200 } = answer;
  return {
    response: {
      request_id: requestId,
      lease_id: leased?.id ?? "",
      renewable: leased?.renewable ?? false,
      lease_duration: leased?.ttlSeconds ?? 0,
      data: answer.data ?? null,
      wrap_info: answer.wrapInfo ?? null,
      warnings: warnings.length === 0 ? null : warnings,
      auth: answer.auth ?? null,
    },
    form,
    status,
    raw: answer.wrapInfo === undefined ? raw : undefined,
  };
}

export function isWrite(operation: Operation): boolean {
  return operation === "create" || operation === "update" || operation === "patch";
}
