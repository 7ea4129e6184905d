import { randomUUID } from "node:crypto";

import type { Secret } from "@rk8s/protocol";

import type { JsonObject, Operation } from "./backend.js";

/** A request to the vault, whoever brings it: a program, the HTTP API or the command line. */
export interface VaultRequest {
  /** `create` and `update` both stand for writing; which one a policy must allow, the path decides. */
  readonly operation: Operation;
  /** Without a leading slash or `v1/`: `pki/issue/web`. */
  readonly path: string;
  /** Fields of the body, or of the query for reads and lists. */
  readonly data?: JsonObject | undefined;
  readonly clientToken?: string | Secret<string> | undefined;
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
  readonly token_type: "service";
  readonly orphan: boolean;
  readonly mfa_requirement: null;
  readonly num_uses: number;
}

/** An answer in the form that Vault's clients know; every member is always there. */
export interface VaultResponse {
  readonly request_id: string;
  readonly lease_id: string;
  readonly renewable: boolean;
  readonly lease_duration: number;
  readonly data: JsonObject | null;
  readonly wrap_info: null;
  readonly warnings: readonly string[] | null;
  readonly auth: VaultAuth | null;
}

/** What a handler of a path answers, before it gets its envelope. */
export interface Answer {
  readonly data?: JsonObject;
  readonly auth?: VaultAuth;
  readonly warnings?: readonly string[];
}

/** Put an answer into Vault's envelope. */
export function toVaultResponse(answer: Answer): VaultResponse {
  return {
    request_id: randomUUID(),
    lease_id: "",
    renewable: false,
    lease_duration: 0,
    data: answer.data ?? null,
    wrap_info: null,
    warnings: answer.warnings === undefined || answer.warnings.length === 0 ? null : answer.warnings,
    auth: answer.auth ?? null,
  };
}

export function isWrite(operation: Operation): boolean {
  return operation === "create" || operation === "update";
}
