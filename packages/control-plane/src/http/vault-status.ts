import { ERROR_CODES, type ErrorCode } from "@rk8s/protocol";

/**
 * HTTP statuses of the Vault API where they differ from the code's own: Vault's clients know 400, 403, 404, 405, 413,
 * 415, 429, 500, 502 and 503, take every 5xx for a reason to try again, and know no 401.
 */
const VAULT_STATUS: Partial<Readonly<Record<ErrorCode, number>>> = {
  UNSUPPORTED: 405,
  ALREADY_EXISTS: 400,
  CONFLICT: 400,
  ALREADY_RUNNING: 400,
  JOIN_TOKEN_INVALID: 403,
  JOIN_TOKEN_EXPIRED: 403,
  JOIN_TOKEN_USED: 403,
  JOIN_TOKEN_REVOKED: 403,
  NONCE_EXPIRED: 403,
  NODE_NAME_TAKEN: 400,
  AUDIT_UNWRITABLE: 500,
  STORAGE_FULL: 500,
  STORAGE_UNWRITABLE: 500,
  TIMED_OUT: 502,
  RUNTIME_FAILED: 502,
};

/** The status with which the Vault API answers a code. */
export function vaultStatus(code: ErrorCode): number {
  return VAULT_STATUS[code] ?? ERROR_CODES[code].http;
}
