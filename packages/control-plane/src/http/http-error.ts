import { RksError, type WireError } from "@rk8s/protocol";
import type { HttpAnswer } from "./http-answer.js";
import { vaultStatus } from "./vault-status.js";

/** Body of every error answer: Vault's `errors`, and ours with the code. */
interface ErrorBody {
  readonly errors: readonly string[];
  readonly error: WireError;
}

/** Texts that Vault's clients look for, instead of our own; there is no hint beside them. */
const VAULT_TEXTS: Partial<Readonly<Record<RksError["code"], string>>> = {
  PERMISSION_DENIED: "permission denied",
  VAULT_SEALED: "Vault is sealed",
};

/** What the cluster's own API answers to a failure. The cause stays here. */
export function clusterErrorAnswer(reason: unknown): HttpAnswer {
  const error = RksError.from(reason);
  return errorAnswer(error, error.info.http, [error.message]);
}

/** What the Vault API answers to a failure: its statuses and texts. The cause stays here. */
export function vaultErrorAnswer(reason: unknown): HttpAnswer {
  const error = RksError.from(reason);
  const known = VAULT_TEXTS[error.code];
  if (known !== undefined) return errorAnswer(error, vaultStatus(error.code), [known]);
  const hint = error.suggestion === undefined ? [] : [`hint: ${error.suggestion}`];
  return errorAnswer(error, vaultStatus(error.code), [error.message, ...hint]);
}

function errorAnswer(error: RksError, status: number, errors: readonly string[]): HttpAnswer {
  const body: ErrorBody = { errors, error: error.toJSON() };
  return { status, body: JSON.stringify(body), ...(status === 429 ? { retryAfterSeconds: 1 } : {}) };
}
