import { RksError, type WireError } from "@rk8s/protocol";

/** Body of every error answer: Vault's `errors`, and ours with the code. */
export interface ErrorBody {
  readonly errors: readonly string[];
  readonly error: WireError;
}

/** Status and body of an error answer. The cause stays here. */
export function errorAnswer(reason: unknown): { readonly status: number; readonly body: ErrorBody } {
  const error = RksError.from(reason);
  return { status: error.info.http, body: { errors: [error.message], error: error.toJSON() } };
}
